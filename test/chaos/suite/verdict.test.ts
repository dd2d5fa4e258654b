import { expect, test } from 'vitest'
import type { Finding, RequestTarget } from './fault.ts'
import { Book } from './prober/book.ts'
import type { Tally } from './prober/tally.ts'
import { judge } from './verdict.ts'

/** A tally of requests sent at these times, those in `failed` without an answer. */
function tallyOf(answered: number[], failed: number[] = []): Tally {
  const book = new Book(() => 100_000)
  for (const at of answered) book.enter('keep-alive', at).succeed('a')
  for (const at of failed) book.enter('keep-alive', at).fail('reset')
  return book.peek()
}

const finding = (part: Partial<Finding> = {}): Finding => ({ injectedAt: 1000, problems: [], ...part })
const none: RequestTarget = { kind: 'none' }

test('one failed request breaks the promise that none fails', () => {
  expect(judge({ requests: none }, tallyOf([1, 2]), finding())).toEqual({ missed: [], late: [] })
  expect(judge({ requests: none }, tallyOf([1, 2], [3]), finding()).missed).toEqual([
    '1 of 3 requests failed',
  ])
})

test('a promise about traffic needs traffic', () => {
  expect(judge({ requests: none }, tallyOf([]), finding()).missed).toHaveLength(1)
  const many = { kind: 'none', atLeast: 3 } as const
  expect(judge({ requests: many }, tallyOf([1, 2]), finding()).missed).toEqual([
    'only 2 requests of at least 3 were sent',
  ])
})

test('what was sent soon after the injection may fail, what was sent later may not', () => {
  const requests = { kind: 'none-sent-after', ms: 2000 } as const
  expect(judge({ requests }, tallyOf([], [1500, 3000]), finding()).missed).toEqual([])
  expect(judge({ requests }, tallyOf([], [1500, 3001]), finding()).missed).toHaveLength(1)
})

test('a measured share is never missed', () => {
  const requests = { kind: 'measured', promise: '99.5 %' } as const
  expect(judge({ requests }, tallyOf([], [1]), finding()).missed).toEqual([])
})

test('a broken promise about state is missed, a slow heal only late', () => {
  const target = { requests: none, detectSeconds: 6, healSeconds: 15 }
  const found = finding({ problems: ['one replica too many'], detectMs: 6000, healMs: 15_001 })
  expect(judge(target, tallyOf([1]), found)).toEqual({
    missed: ['one replica too many'],
    late: ['healed after 15.0 s instead of 15 s'],
  })
})
