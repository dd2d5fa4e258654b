import { closeSync, copyFileSync, existsSync, openSync, renameSync, statSync, truncateSync } from 'node:fs'
import { readFile } from 'node:fs/promises'

const maxLogBytes = 10 * 1024 * 1024
const keptLogs = 3

/**
 * Runs `use` with a descriptor that appends to `path`. Processes write to the file itself and not through a
 * pipe of the supervisor: when the supervisor is killed, nobody loses an output to write to.
 */
export function withLogDescriptor<Value>(path: string, use: (descriptor: number) => Value): Value {
  const descriptor = openSync(path, 'a', 0o600)
  try {
    return use(descriptor)
  } finally {
    closeSync(descriptor)
  }
}

/**
 * Keeps a log at most `maxBytes` long: its content moves to `path.1`, that to `path.2`, and so on. The file is
 * copied and emptied, because its writers keep it open (in append mode, so they go on at the start). The copy is
 * made first: where there is no room for it nothing has changed when this throws.
 */
export function rotateLog(path: string, maxBytes = maxLogBytes, kept = keptLogs): boolean {
  if (!existsSync(path) || statSync(path).size <= maxBytes) return false
  const copy = `${path}.new`
  // Half a copy is removed by the call itself.
  copyFileSync(path, copy)
  for (let age = kept - 1; age >= 1; age -= 1) {
    if (existsSync(`${path}.${age}`)) renameSync(`${path}.${age}`, `${path}.${age + 1}`)
  }
  renameSync(copy, `${path}.1`)
  truncateSync(path, 0)
  return true
}

/** The last lines of a log, for a message; empty when there is none. */
export async function lastLogLines(path: string, count: number): Promise<string[]> {
  const text = await readFile(path, 'utf8').catch(() => '')
  return text.trimEnd().split('\n').slice(-count)
}
