import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'

/** A process of a test: it dies with its parent, even when that is killed, and keeps its last output. */
export type TestChild = {
  process: ChildProcess
  /** The last 16 KiB of standard output and error. */
  output(): string
  /** Sends `signal` and waits for the end; SIGKILL follows after `graceMs`. */
  stop(signal: NodeJS.Signals, graceMs?: number): Promise<void>
}

const keptOutput = 16 * 1024

/** Starts `command` under `setpriv --pdeathsig`, as `user` where that is given (needs root). */
export function startTestChild(
  command: readonly string[],
  options: { user?: string; cwd?: string; env?: NodeJS.ProcessEnv } = {},
): TestChild {
  const identity =
    options.user === undefined ? [] : [`--reuid=${options.user}`, `--regid=${options.user}`, '--init-groups']
  const child = spawn('/usr/bin/setpriv', [...identity, '--pdeathsig=KILL', ...command], {
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    ...(options.env === undefined ? {} : { env: options.env }),
  })
  let kept = ''
  const keep = (chunk: Buffer) => {
    kept = (kept + chunk.toString()).slice(-keptOutput)
  }
  child.stdout.on('data', keep)
  child.stderr.on('data', keep)
  child.on('error', (error) => keep(Buffer.from(String(error))))
  const exited = once(child, 'exit').catch(() => undefined)
  return {
    process: child,
    output: () => kept,
    async stop(signal, graceMs = 20_000) {
      if (child.exitCode !== null || child.signalCode !== null) return
      child.kill(signal)
      const killer = setTimeout(() => child.kill('SIGKILL'), graceMs)
      await exited
      clearTimeout(killer)
    },
  }
}
