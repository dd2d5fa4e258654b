import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { expect, test } from 'vitest'

const root = resolve(import.meta.dirname, '..')
const page = readFileSync(join(root, 'docs/conformance.md'), 'utf8')

/** Files by the names that the page gives them: `[traffic]: ../test/conformance/traffic.test.ts`. */
const files = new Map(
  [...page.matchAll(/^\[([\w-]+)\]: \.\.\/(\S+)$/gm)].map(([, name = '', path = '']) => [name, path]),
)

/** Every `[traffic] "title of a test"` of the page as `file: title`, also where it goes over the end of a line. */
const shown = [...page.replaceAll(/\s+/g, ' ').matchAll(/\[([\w-]+)\] "([^"]+)"/g)].map(
  ([, name = '', title = '']) => `${files.get(name)}: ${title}`,
)

/** The tests in a file as `file: title`, each title as it is written there. */
function testsIn(path: string): string[] {
  if (!existsSync(join(root, path))) return []
  const source = readFileSync(join(root, path), 'utf8')
  const titles = [...source.matchAll(/(?:\btest|\))\(\s*'([^'\n]+)',\s*(?:async )?\(/g)]
  return titles.map(([, title]) => `${path}: ${title}`)
}

test('every test that the page of conformance names exists', () => {
  const known = new Set([...files.values()].flatMap(testsIn))
  expect(shown.length).toBeGreaterThan(50)
  expect(shown.filter((each) => !known.has(each))).toEqual([])
})

test('the page of conformance names every conformance test', () => {
  const folder = 'test/conformance'
  const tests = readdirSync(join(root, folder)).flatMap((file) => testsIn(`${folder}/${file}`))
  expect(tests.length).toBeGreaterThan(20)
  expect(tests.filter((each) => !shown.includes(each))).toEqual([])
})

test('the page of conformance says of every scenario what becomes of it', () => {
  const scenarios = page
    .replaceAll(/\n {2}/g, ' ')
    .split('\n')
    .filter((line) => line.startsWith('- '))
  const results = /\*\*(pass|in part|not yet|does not apply)\*\*|: see /
  expect(scenarios.filter((line) => !results.test(line))).toEqual([])
  const passes = scenarios.filter((line) => /\*\*pass\*\*/.test(line) && !line.startsWith('- **'))
  expect(passes.filter((line) => !/\[[\w-]+\] "/.test(line))).toEqual([])
})
