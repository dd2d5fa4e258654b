import { expect, test } from 'vitest'
import { mayRetry, type Attempt } from './retry.ts'

const died: Attempt = {
  method: 'GET',
  retries: 0,
  failure: { kind: 'died', written: true, received: false, message: '' },
  bodyCanRestart: true,
}
const refused = { kind: 'connect', written: false, received: false, message: '' } as const
const begun = { kind: 'died', written: true, received: true, message: '' } as const
const garbled = { kind: 'protocol', written: true, received: false, message: '' } as const

test.each<[string, Partial<Attempt>, boolean]>([
  ['an idempotent request whose connection died', {}, true],
  ['a second time', { retries: 1 }, false],
  ['a POST that was written', { method: 'POST' }, false],
  ['a POST that was not written', { method: 'POST', failure: refused }, true],
  ['an answer that has begun', { failure: begun }, false],
  ['a body that is gone', { bodyCanRestart: false }, false],
  ['a body that is gone, not written', { bodyCanRestart: false, failure: refused }, false],
  ['an answer that is no HTTP', { failure: garbled }, false],
])('%s', (_what, changes, expected) => expect(mayRetry({ ...died, ...changes })).toBe(expected))
