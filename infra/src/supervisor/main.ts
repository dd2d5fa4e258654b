import { writeSync } from 'node:fs'
import { resolve } from 'node:path'
import { openDataFolder } from '../data-folder.ts'
import { messageOf } from '../failure.ts'
import { identify } from '../machine/process-identity.ts'
import { openRunFolder } from '../run-folder.ts'
import { parseSettings } from '../settings.ts'
import { writeRunningSettings } from './running-settings.ts'
import { startPlan } from './start-plan.ts'
import { serveControl } from './control-server.ts'
import { ProcessRecord, stopLeftovers } from './process-record.ts'
import { Supervisor } from './supervisor.ts'

/*
 * The supervisor: one per data folder, started by `./berth up`. It writes one JSON line per event to standard
 * output, which `up` has pointed at logs/supervisor.log.
 */

/** Straight to the descriptor: a stream would be closed for good by its first failure, such as a full disk. */
const say = (message: string, keys: Record<string, unknown>) => {
  try {
    writeSync(1, `${JSON.stringify({ at: new Date().toISOString(), message, ...keys })}\n`)
  } catch {
    // A log that cannot be written is no reason to end what is supervised.
  }
}

async function main(): Promise<void> {
  const project = resolve(import.meta.dirname, '../../..')
  const settings = parseSettings(process.env, project, process.cwd())
  const data = await openDataFolder(settings.data)
  const run = await openRunFolder(data.path)
  const left = await stopLeftovers(run.processFile)
  if (left.length > 0) say('ended what an earlier supervisor left', { processes: left })

  const record = new ProcessRecord(run.processFile, (problem) =>
    say('the record of processes cannot be written', { problem }),
  )
  const self = identify(process.pid)
  if (self !== undefined) record.add({ ...self, name: 'supervisor', stopSignal: 'SIGTERM' })

  const supervisor = new Supervisor(
    {
      installation: data.installation,
      ports: { ...settings.ports, ...(settings.tls ? { tls: settings.tls.port } : {}) },
      logs: data.logs,
      async prepare() {
        await writeRunningSettings(run, settings)
        return await startPlan(settings, data, run, say)
      },
    },
    record,
    say,
  )
  let stopping = false
  const stop = () => {
    if (stopping) return
    stopping = true
    void supervisor.stop().then(() => {
      // An empty record and a silent socket together mean an orderly end, so the record goes first.
      record.clear()
      control.close()
      control.closeAllConnections()
      process.exit(0)
    })
  }
  // Before anything is prepared, so that whoever waits hears why the preparation failed.
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
