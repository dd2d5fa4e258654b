import { execFile, fork } from 'node:child_process'
import { once } from 'node:events'
import { resolve } from 'node:path'
import { promisify } from 'node:util'
import type { GuardAnswer, GuardOrder } from './partition-guard.ts'

const run = promisify(execFile)

/** Cuts addresses of this machine's loopback network off, as a host that is gone would be. */
export type Partition = {
  /** From now on every packet to and from `address` is dropped. */
  cut(address: string): Promise<void>
  mend(address: string): Promise<void>
  /** Mends everything. */
  close(): Promise<void>
}

/**
 * The rules belong to a process of their own, which removes them when the suite ends in whatever way. Rules of a
 * run whose guard was killed too are removed first; `mark` tells those of one run from those of others.
 */
export async function openPartition(mark: string): Promise<Partition> {
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

/** The rules that carry `mark`, as iptables would be told to add them. */
export async function readRules(mark: string): Promise<string[]> {
  const { stdout } = await run('iptables', ['--wait', '--list-rules', 'OUTPUT'])
  return stdout.split('\n').filter((line) => line.includes(`--comment ${mark} `))
}
