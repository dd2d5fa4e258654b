import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { RouteSnapshot } from '@berth/contracts'
import { eventually } from './edge.ts'

export type HubProcess = {
  process: ChildProcess
  /** Ids of the routers that it knows. */
  routers(): string[]
  publish(table: RouteSnapshot): void
  stop(): Promise<void>
}

/** The leader's real hub in a process of its own, which publishes `table`; resolves once it leads. */
export async function startHubProcess(
  socketPath: string,
  table: RouteSnapshot,
  epoch = 1,
): Promise<HubProcess> {
  const main = join(import.meta.dirname, '../../../worker/src/testing/stand-alone-hub.ts')
  const hub = spawn(process.execPath, [main, socketPath, String(epoch)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  let leading = false
  let routers: string[] = []
  createInterface({ input: hub.stdout }).on('line', (line) => {
    const said = JSON.parse(line) as string | { routers: string[] }
    if (typeof said === 'string') leading = true
    else routers = said.routers
  })
  const publish = (next: RouteSnapshot) => void hub.stdin.write(`${JSON.stringify(next)}\n`)
  publish(table)
  await eventually(() => leading)
  return {
    process: hub,
    routers: () => routers,
    publish,
    async stop() {
      hub.kill('SIGKILL')
      if (hub.exitCode === null && hub.signalCode === null) await once(hub, 'exit')
    },
  }
}
