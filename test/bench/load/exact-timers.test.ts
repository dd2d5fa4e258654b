import { expect, test } from 'vitest'
import { ExactTimers } from './exact-timers.ts'

test('work is done at its time and never before, whatever order it was asked for in', async () => {
  const timers = new ExactTimers()
  const start = performance.now()
  const done: { due: number; at: number }[] = []
  await new Promise<void>((resolve) => {
    for (const due of [30, 10, 20])
      timers.at(start + due, () => {
        done.push({ due, at: performance.now() - start })
        if (due === 20) timers.at(0, () => done.push({ due: 0, at: performance.now() - start }))
        if (due === 30) resolve()
      })
  })
  expect(done.map(({ due }) => due)).toEqual([10, 20, 0, 30])
  for (const { due, at } of done) expect(at).toBeGreaterThanOrEqual(due)
})
