import { fork } from 'node:child_process'
import { once } from 'node:events'
import { resolve } from 'node:path'
import type { GuardAnswer, GuardOrder } from './partition-guard.ts'

/** Cuts addresses of this machine's loopback network off, as a host that is gone would be. */
export type Partition = {
  /** From now on every packet to and from `address` is dropped. */
  cut(address: string): Promise<void>
  mend(address: string): Promise<void>
  /** Mends everything. */
  close(): Promise<void>
}

/**
 * The rules belong to a process of their own, which removes them when this one ends in whatever way. `mark` tells
 * them from those of other runs (`partitionMark`).
 */
export function openPartition(mark: string): Partition {
  const guard = fork(resolve(import.meta.dirname, 'partition-guard.ts'), [mark], {
    execArgv: [],
    detached: true,
  })
  const exited = once(guard, 'exit')
  let orders = 0

  const order = async (verb: GuardOrder['verb'], address: string): Promise<void> => {
    orders += 1
    const id = orders
    const answered = new Promise<GuardAnswer>((done, reject) => {
      const hear = (message: unknown) => {
        const answer = message as GuardAnswer
        if (answer.id !== id) return
        guard.off('message', hear)
        done(answer)
      }
      guard.on('message', hear)
      guard.once('exit', () => reject(new Error('the guard of the partition has ended')))
    })
    guard.send({ id, verb, address } satisfies GuardOrder)
    const { problem } = await answered
    if (problem !== null) throw new Error(`${verb} ${address}: ${problem}`)
  }

  return {
    cut: (address) => order('cut', address),
    mend: (address) => order('mend', address),
    async close() {
      if (guard.connected) guard.disconnect()
      await exited
    },
  }
}
