import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'

/*
 * The cases of bad inputs and attacks on the router have numbers, 1 to 71, and each is a test in this folder whose title
 * ends with its number: `grep -rn 'case 17)' apps/router/src/hostile` finds it.
 */

const first = 1
const last = 71

/** Cases that are no test yet, each with its reason. */
const missing: Record<number, string> = {}

/** The numbers in the titles of all tests here. */
function shown(): Set<number> {
  const files = readdirSync(import.meta.dirname).filter((file) =>
    /\.(integration|component)\.test\.ts$/.test(file),
  )
  const sources = files.map((file) => readFileSync(join(import.meta.dirname, file), 'utf8'))
  return new Set(
    sources.flatMap((source) => [...source.matchAll(/\(case (\d+)\)[`']/g)].map(([, n]) => Number(n))),
  )
}

test('every case has a test that carries its number, or a reason', () => {
  const numbers = shown()
  const all = Array.from({ length: last - first + 1 }, (_, i) => first + i)
  expect(all.filter((number) => !numbers.has(number))).toEqual(Object.keys(missing).map(Number))
  expect([...numbers].filter((number) => number < first || number > last)).toEqual([])
})
