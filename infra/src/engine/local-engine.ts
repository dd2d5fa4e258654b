import { spawn, spawnSync } from 'node:child_process'
import { existsSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { codeOf, Failure, messageOf } from '../failure.ts'
import { callHttp } from '../http-call.ts'
import { accountName, isRoot } from '../machine/accounts.ts'

const startTimeoutMs = 40_000

/** What `/_ping` on the engine's socket says about it. */
type EngineState =
  | { kind: 'runs' }
  | { kind: 'absent' }
  | { kind: 'forbidden' }
  | { kind: 'broken'; problem: string }

/**
 * Makes sure that a Docker Engine answers on `socketPath`, starting the installed one where it does not run.
 * One that runs is never touched. Each thing that stands in the way is a Failure that says what to do.
 */
export async function ensureEngine(socketPath: string, logs: string): Promise<'ran' | 'started'> {
  const state = await engineState(socketPath)
  if (state.kind === 'runs') return 'ran'
  if (state.kind === 'forbidden') {
    const user = accountName(process.getuid?.() ?? 0)
    throw new Failure(
      `${user} may not use Docker at ${socketPath}; run "sudo usermod -aG docker ${user}", log in again, and repeat.`,
    )
  }
  if (state.kind === 'broken') throw new Failure(`Docker at ${socketPath} does not work: ${state.problem}.`)
  if (socketPath !== '/var/run/docker.sock' && socketPath !== '/run/docker.sock')
    throw new Failure(`No Docker Engine answers at ${socketPath}; start it, or unset DOCKER_HOST.`)
  if (!isRoot())
    throw new Failure(
      `Docker is not running; start it with "sudo systemctl start docker" and repeat ./berth up.`,
    )
  const program = ['/usr/sbin/dockerd', '/usr/bin/dockerd', '/usr/local/bin/dockerd'].find((path) =>
    existsSync(path),
  )
  if (program === undefined) throw new Failure('Docker is not installed; run ./berth packages.')
  await startEngine(program, socketPath, join(logs, 'dockerd.log'))
  return 'started'
}

async function engineState(socketPath: string): Promise<EngineState> {
  try {
    const { status, body } = await callHttp({ target: { socketPath }, path: '/_ping', timeoutMs: 5000 })
    return status === 200
      ? { kind: 'runs' }
      : { kind: 'broken', problem: `it answers ${status} ${body.trim()}` }
  } catch (error) {
    const code = codeOf(error)
    if (code === 'ENOENT' || code === 'ECONNREFUSED') return { kind: 'absent' }
    if (code === 'EACCES' || code === 'EPERM') return { kind: 'forbidden' }
    return { kind: 'broken', problem: messageOf(error) }
  }
}

/** By systemd where it runs the machine, else detached; it outlives Berth either way. */
async function startEngine(program: string, socketPath: string, log: string): Promise<void> {
  const deadline = performance.now() + startTimeoutMs
  for (;;) {
    const ended = existsSync('/run/systemd/system') ? startBySystemd() : startDetached(program, log)
    while (!ended.over() && performance.now() < deadline) {
      if ((await engineState(socketPath)).kind === 'runs') return
      await delay(100)
    }
    // A stale pid file of an engine that was just killed goes away once its process has been reaped.
    if (performance.now() > deadline) break
    await delay(1000)
  }
  throw new Failure(`Docker was started and does not answer; ${log} or "journalctl -u docker" say why.`)
}

function startBySystemd(): { over(): boolean } {
  const { status, stderr } = spawnSync('systemctl', ['start', 'docker.service'], { encoding: 'utf8' })
  if (status !== 0) throw new Failure(`systemctl could not start Docker: ${stderr.trim()}`)
  return { over: () => false }
}

function startDetached(program: string, log: string): { over(): boolean } {
  const output = openSync(log, 'a', 0o600)
  const child = spawn(program, [], { detached: true, stdio: ['ignore', output, output], cwd: '/' })
  let over = false
  child.once('error', () => (over = true))
  child.once('exit', () => (over = true))
  child.unref()
  return { over: () => over }
}
