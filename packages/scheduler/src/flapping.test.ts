import { expect, test } from 'vitest'
import { answersUntilReady } from './flapping.ts'

test.each([
  [0, 2],
  [1, 2],
  [2, 2],
  [3, 10],
  [4, 30],
  [5, 60],
  [50, 60],
])('after %d losses a node has to answer %d times in a row', (losses, answers) => {
  expect(answersUntilReady({ losses, alone: false })).toBe(answers)
})

test('where nobody else could take over, two answers are enough however often it was lost', () => {
  expect(answersUntilReady({ losses: 50, alone: true })).toBe(2)
})
