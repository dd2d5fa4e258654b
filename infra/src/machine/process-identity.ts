import { readFileSync } from 'node:fs'

/**
 * One process, told apart from a later one with the same pid by its start time (clock ticks since boot).
 * `kill(pid, 0)` would not do: it also answers for zombies, which PID 1 of a container may reap late.
 */
export type ProcessIdentity = { pid: number; startTime: string }

/** Who has this pid now, or undefined when nobody or only a zombie does. */
export function identify(pid: number): ProcessIdentity | undefined {
  let stat: string
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  } catch {
    return undefined
  }
  return parseStat(pid, stat)
}

/** Reads /proc/PID/stat. The command name stands in brackets and may itself hold brackets and spaces. */
export function parseStat(pid: number, stat: string): ProcessIdentity | undefined {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const [state, startTime] = [fields[0], fields[19]]
  if (startTime === undefined || state === 'Z' || state === 'X') return undefined
  return { pid, startTime }
}

export function isAlive(identity: ProcessIdentity): boolean {
  return identify(identity.pid)?.startTime === identity.startTime
}

/** Sends a signal, and tells whether there was still somebody to get it. */
export function signal(identity: ProcessIdentity, name: NodeJS.Signals): boolean {
  if (!isAlive(identity)) return false
  try {
    process.kill(identity.pid, name)
    return true
  } catch {
    return false
  }
}
