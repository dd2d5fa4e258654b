import { expect, test } from 'vitest'
import { until } from './poll.ts'

test('waits until the check answers, and returns its answer', async () => {
  const answers = [undefined, false, null, 'there']
  expect(await until(() => answers.shift(), { intervalMs: 1 })).toBe('there')
})

test('an exception means "not yet" and becomes the cause after the deadline', async () => {
  const broken = until(() => Promise.reject(new Error('no socket')), { timeoutMs: 20, intervalMs: 1 })
  await expect(broken).rejects.toThrow(/timed out .*no socket/)
})

test('zero and the empty string are answers', async () => {
  expect(await until(() => 0)).toBe(0)
  expect(await until(() => '')).toBe('')
})
