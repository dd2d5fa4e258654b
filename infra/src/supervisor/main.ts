import { resolve } from 'node:path'
import { openDataFolder } from '../data-folder.ts'
import { messageOf } from '../failure.ts'
import { identify } from '../machine/process-identity.ts'
import { openRunFolder } from '../run-folder.ts'
import { parseSettings } from '../settings.ts'
import { startPlan } from './start-plan.ts'
import { serveControl } from './control-server.ts'
import { ProcessRecord, stopLeftovers } from './process-record.ts'
import { Supervisor } from './supervisor.ts'

/*
 * The supervisor: one per data folder, started by `./berth up`. It writes one JSON line per event to standard
 * output, which `up` has pointed at logs/supervisor.log.
 */

const say = (message: string, keys: Record<string, unknown>) => {
  process.stdout.write(`${JSON.stringify({ at: new Date().toISOString(), message, ...keys })}\n`)
}

async function main(): Promise<void> {
  const project = resolve(import.meta.dirname, '../../..')
  const settings = parseSettings(process.env, project, process.cwd())
  const data = await openDataFolder(settings.data)
  const run = await openRunFolder(data.path)
  const left = await stopLeftovers(run.processFile)
  if (left.length > 0) say('ended what an earlier supervisor left', { processes: left })

  const record = new ProcessRecord(run.processFile)
  const self = identify(process.pid)
  if (self !== undefined) record.add({ ...self, name: 'supervisor', stopSignal: 'SIGTERM' })

  const supervisor = new Supervisor(await startPlan(settings, data, run), record, say)
  let stopping = false
  const stop = () => {
    if (stopping) return
    stopping = true
    void supervisor.stop().then(() => {
      control.close()
      control.closeAllConnections()
      record.clear()
      process.exit(0)
    })
  }
  const control = await serveControl(run.supervisorSocket, {
    status: () => supervisor.status(),
    restart: (name) => supervisor.restart(name),
    pause: (name) => supervisor.pause(name),
    resume: (name) => supervisor.resume(name),
    down: stop,
  })
  process.on('SIGTERM', stop)
  process.on('SIGINT', stop)
  process.on('SIGHUP', () => undefined)
  await supervisor.start()
}

main().catch((error: unknown) => {
  say('supervisor failed', { problem: messageOf(error) })
  process.exitCode = 1
})
