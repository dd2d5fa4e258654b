import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { Connections } from './connections.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

test('every connection is looked at about once a second, and never all of them in one go', async () => {
  const connections = new Connections()
  let looks = 0
  let most = 0
  const seen = Array.from({ length: 1000 }, () => {
    const tend = vi.fn(() => void (looks += 1))
    connections.opened({ tend, closeQuiet: () => undefined, destroy: () => undefined })
    return tend
  })
  for (let turn = 0; turn < 210; turn += 1) {
    looks = 0
    await vi.advanceTimersByTimeAsync(50)
    most = Math.max(most, looks)
  }
  expect(most).toBe(50)
  for (const tend of seen) expect([9, 10, 11]).toContain(tend.mock.calls.length)
})
