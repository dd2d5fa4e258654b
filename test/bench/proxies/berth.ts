import { writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import type { RouteSnapshot } from '@berth/contracts'
import { freePorts } from '../../support/free-ports.ts'
import { host, type Proxy, type ProxyPlace, startProcess } from './proxy.ts'

const installation = 'bench'
const main = resolve(import.meta.dirname, '../../../apps/router/src/main.ts')

/** A router as `up` starts it, with admission, metrics and an access line for every request. */
export const berth = berthWith('Berth', {})
/** The same without access lines, which the others do not write either. */
export const berthWithoutLog = berthWith('Berth, no log', { BERTH_LOG_LEVEL: 'warn' })
/** Its reference mode: undici asks the replicas. */
export const berthOnUndici = berthWith('Berth on undici, no log', {
  BERTH_LOG_LEVEL: 'warn',
  BERTH_ROUTER_CLIENT: 'undici',
})

/** With its table from disk, and nobody to report to. */
function berthWith(name: string, env: Record<string, string>): Proxy {
  return {
    name,
    async start(place) {
      const ports = await freePorts()
      const tableFile = join(place.folder, `${ports.edge}.json`)
      await writeFile(tableFile, JSON.stringify(tableTo(place)))
      return startProcess({
        name,
        port: ports.edge,
        command: [process.execPath, main],
        folder: place.folder,
        env: {
          PATH: process.env['PATH'],
          BERTH_INSTALLATION: installation,
          BERTH_ROUTE_TABLE_FILE: tableFile,
          BERTH_EDGE_PORT: String(ports.edge),
          BERTH_ROUTER_ADMIN_PORT: String(ports.routerAdmin),
          ...env,
        },
      })
    },
  }
}

function tableTo({ replicaPorts, concurrency, protocol }: ProxyPlace): RouteSnapshot {
  const service = { project: 'default', service: 'hello', serviceUid: 'svc-1' }
  return {
    kind: 'snapshot',
    installation,
    version: { epoch: 1, sequence: 1 },
    hosts: [{ ...service, host, targets: [{ revision: 'rev-1', percent: 100 }] }],
    revisions: [
      {
        ...service,
        uid: 'rev-1',
        name: 'hello-00001',
        concurrency,
        ...(protocol === 'h2c' ? { protocol } : {}),
        timeoutMs: 300_000,
        queueDeadlineMs: 60_000,
        atMaxScale: false,
        blocked: null,
        replicas: replicaPorts.map((port) => ({ id: `r${port}`, node: 'n1', address: '127.0.0.1', port })),
      },
    ],
  }
}
