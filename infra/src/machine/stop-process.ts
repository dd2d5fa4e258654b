import { setTimeout as delay } from 'node:timers/promises'
import { isAlive, type ProcessIdentity, signal } from './process-identity.ts'

/**
 * Ends a process: `first` at once, SIGKILL after `graceMs`. Resolves when it is gone (true when it had to be
 * killed), or after a further 5 s when even SIGKILL does not end it (a process in uninterruptible sleep).
 */
export async function stopProcess(
  identity: ProcessIdentity,
  first: NodeJS.Signals,
  graceMs: number,
): Promise<boolean> {
  if (!signal(identity, first)) return false
  if (await gone(identity, graceMs)) return false
  signal(identity, 'SIGKILL')
  await gone(identity, 5000)
  return true
}

async function gone(identity: ProcessIdentity, withinMs: number): Promise<boolean> {
  const deadline = performance.now() + withinMs
  while (isAlive(identity)) {
    if (performance.now() > deadline) return false
    await delay(20)
  }
  return true
}
