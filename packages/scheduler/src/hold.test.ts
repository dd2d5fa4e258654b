import { expect, test } from 'vitest'
import { decideHold } from './hold.ts'

test.each([
  [1, 1, false],
  [2, 1, false],
  [2, 2, false],
  [3, 1, false],
  [3, 2, true],
  [4, 2, false],
  [4, 3, true],
  [10, 5, false],
  [10, 6, true],
])('of %d nodes %d lost: hold is %s', (nodes, lost, hold) => {
  expect(decideHold({ nodes, lost }).hold).toBe(hold)
})

test('a hold says why', () => {
  const reason = '2 of 3 nodes were lost within 30 s'
  expect(decideHold({ nodes: 3, lost: 2 })).toEqual({ hold: true, reason })
})
