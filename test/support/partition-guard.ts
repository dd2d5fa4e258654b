import { messageOf } from '../../infra/src/failure.ts'
import { addRules, removeRules } from './partition-rules.ts'

export type GuardOrder = { id: number; verb: 'cut' | 'mend'; address: string }
export type GuardAnswer = { id: number; problem: string | null }

/*
 * Keeps the packet filter's rules of one test run. When the run's end of the channel closes, by whatever kind of end,
 * all its rules are removed and the guard ends. Signals that a terminal sends to everybody do not reach it.
 */

const mark = process.argv[2] ?? ''

async function carryOut({ verb, address }: GuardOrder): Promise<void> {
  await removeRules(mark, address)
  if (verb === 'cut') await addRules(mark, address)
}

// What a guard of the same mark has left that was killed itself.
let work: Promise<unknown> = removeRules(mark)

process.on('message', (order: GuardOrder) => {
  work = work
    .then(() => carryOut(order))
    .then(() => null, messageOf)
    .then((problem) => process.send?.({ id: order.id, problem } satisfies GuardAnswer))
})

async function leave(): Promise<void> {
  await work.catch(() => undefined)
  await removeRules(mark)
  process.exit(0)
}

process.once('disconnect', () => void leave())
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined)
