import { once } from 'node:events'
import { mkdir, rename } from 'node:fs/promises'
import type { IncomingMessage } from 'node:http'
import { request } from 'node:https'
import { join } from 'node:path'
import { connect } from 'node:tls'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { callHttp } from '../../infra/src/http-call.ts'
import { routerAdminPorts } from '../../infra/src/settings.ts'
import { type Certificates, makeCertificates } from '../support/certificates.ts'
import { startEngines } from '../support/engines.ts'
import { freePorts } from '../support/free-ports.ts'
import { startLoad } from '../support/load.ts'
import { connectPlatform, startPlatform, type StartedPlatform } from '../support/platform.ts'
import { until } from '../support/poll.ts'
import { claimSlot } from '../support/slot.ts'

/* A platform of its own, with one engine and two routers behind one edge, which serves over TLS too. */

const servername = 'two-burst.localhost'
let started: StartedPlatform
let platform: ReturnType<typeof connectPlatform>
let certificates: Certificates
let certificateFolder: string
let tlsPort: number
let authority: string
const stops: (() => Promise<void>)[] = []

beforeAll(async () => {
  const slot = await claimSlot()
  stops.push(() => slot.release())
  const engines = await startEngines(slot, 1)
  stops.push(async () => {
    await Promise.all(engines.map((engine) => engine.stop()))
  })
  const connections = engines.map(({ connection }) => connection)
  certificateFolder = join(slot.folder, 'certificates')
  await mkdir(certificateFolder, { mode: 0o700 })
  certificates = makeCertificates(certificateFolder)
  await certificates.authority('authority')
  await certificates.certificate('edge', 'authority', `DNS:${servername}`)
  authority = await certificates.trust('authority')
  tlsPort = (await freePorts()).edge
  started = await startPlatform(slot, connections, {
    BERTH_ROUTERS: '2',
    BERTH_TLS_PORT: String(tlsPort),
    BERTH_TLS_FOLDER: certificateFolder,
  })
  stops.push(started.stop)
  platform = connectPlatform(started.connection)
})

afterAll(async () => {
  for (const stop of stops.toReversed()) await stop()
})

/** How many requests each router has answered. */
function answered(): Promise<number[]> {
  const { ports } = started.connection
  return Promise.all(
    routerAdminPorts({ ports, routers: 2 }).map(async (port) => {
      const { body } = await callHttp({ target: { port }, path: '/metrics', timeoutMs: 5000 })
      const counts = body.matchAll(/^berth_router_requests_total\{.*\} ([0-9]+)$/gm)
      return [...counts].reduce((sum, [, count]) => sum + Number(count), 0)
    }),
  )
}

describe('two routers behind one edge', () => {
  test('never ask an app with concurrency 1 twice at once, in a burst', async () => {
    await platform.deploy('two-burst', { concurrency: 1, maxScale: 10, memory: '96Mi', cpu: 0.5 })
    const answers = await Promise.all(
      Array.from({ length: 100 }, () =>
        platform.request('two-burst', { path: '/sleep?ms=300', timeoutMs: 120_000 }),
      ),
    )
    expect(answers.filter(({ status }) => status !== 200).map((answer) => answer.text())).toEqual([])
    const seen = await Promise.all(
      Array.from({ length: 20 }, () => platform.request('two-burst', { path: '/stats' })),
    )
    expect(Math.max(...seen.map((answer) => answer.json<{ maximum: number }>().maximum))).toBe(1)
    expect(Math.min(...(await answered()))).toBeGreaterThan(0)
  })

  test('follow a deployment together, and one is replaced while the other serves', async () => {
    await platform.restart('router-2')
    await platform.update('two-burst', { env: { AGAIN: '1' } })
    const { status } = await platform.request('two-burst', { path: '/stats' })
    expect(status).toBe(200)
  })
})

describe('one of two routers is killed', () => {
  test('and at least 99.5 % of the requests succeed, while it is killed and after', async () => {
    await platform.update('two-burst', { concurrency: 80, minScale: 1 })
    await platform.waitReady('two-burst')
    const requests = 6000
    const load = startLoad(() => platform.request('two-burst'), { lanes: 6, limit: requests })
    await until(() => load.sent() > requests / 3, { describe: 'a third of the requests to be sent' })
    await platform.signal('router-2', 'SIGKILL')
    await until(() => load.sent() >= requests, { describe: 'all requests to be sent', timeoutMs: 120_000 })
    const { sent, statuses, failures } = await load.stop()
    const failed = sent - (statuses['200'] ?? 0)
    expect(failed, failures.join('\n')).toBeLessThanOrEqual(sent * 0.005)
  }, 180_000)
})

describe('over TLS', () => {
  async function status(): Promise<number | undefined> {
    const headers = { host: `${servername}:${tlsPort}` }
    const options = { host: '127.0.0.1', port: tlsPort, servername, ca: authority, agent: false }
    const asked = request({ ...options, headers, path: '/stats' }).end()
    const [answer] = (await once(asked, 'response')) as [IncomingMessage]
    answer.resume()
    return answer.statusCode
  }

  async function serialNumber(): Promise<string> {
    const socket = connect({ host: '127.0.0.1', port: tlsPort, servername, ca: authority })
    await once(socket, 'secureConnect')
    const { serialNumber: shown } = socket.getPeerCertificate()
    socket.destroy()
    return shown
  }

  test('a service has a URL and answers at it', async () => {
    const { body } = await platform.expectApi([200], 'GET', '/services/two-burst')
    expect((body as { url: string }).url).toBe(`https://${servername}:${tlsPort}`)
    expect(await status()).toBe(200)
  })

  test('a certificate that is renewed is shown by every router, without a restart', async () => {
    const before = await serialNumber()
    await certificates.certificate('renewed', 'authority', `DNS:${servername}`)
    for (const kind of ['key', 'pem'])
      await rename(join(certificateFolder, `renewed.${kind}`), join(certificateFolder, `edge.${kind}`))
    await until(
      async () => {
        const shown = await Promise.all(Array.from({ length: 10 }, serialNumber))
        return !shown.includes(before)
      },
      { timeoutMs: 30_000, describe: 'the new certificate from every router' },
    )
    expect(await status()).toBe(200)
  })
})
