import { expect, test } from 'vitest'
import type { AccessLine } from '../exchange/access-line.ts'
import { anAccessLine } from '../testing/access-lines.ts'
import { createAccessLog } from './access-log.ts'

/** What is written of `lines` when the random source says `random` every time. */
function written(lines: readonly AccessLine[], sample: number, random = 0.5): string[] {
  const paths: string[] = []
  const note = createAccessLog({
    sample,
    random: () => random,
    write: (line) => paths.push((JSON.parse(line) as AccessLine).path),
  })
  for (const line of lines) note(line)
  return paths
}

const fine = [
  anAccessLine({ path: '/ok' }),
  anAccessLine({ path: '/missing', status: 404 }),
  anAccessLine({ path: '/left', status: 499, outcome: 'client-gone' }),
]
const wrong = [
  anAccessLine({ path: '/error', status: 500 }),
  anAccessLine({ path: '/refused', status: 429, code: 'overloaded' }),
  anAccessLine({ path: '/broken', outcome: 'broken-off' }),
  anAccessLine({ path: '/late', outcome: 'timed-out' }),
]
const paths = (lines: readonly AccessLine[]) => lines.map(({ path }) => path)

test('every request is written unless a sample is asked for', () => {
  expect(written([...fine, ...wrong], 1, 0.999)).toEqual(paths([...fine, ...wrong]))
})

test('of a sample the others are left out, but never what went wrong', () => {
  expect(written([...fine, ...wrong], 0.25, 0.25)).toEqual(paths(wrong))
  expect(written(fine, 0.25, 0.249)).toEqual(paths(fine))
  expect(written([...fine, ...wrong], 0, 0)).toEqual(paths(wrong))
})

test('a quarter is about a quarter', () => {
  let count = 0
  const note = createAccessLog({ sample: 0.25, write: () => (count += 1) })
  for (let i = 0; i < 10_000; i += 1) note(anAccessLine())
  // 43 is the standard deviation.
  expect(Math.abs(count - 2500)).toBeLessThan(300)
})
