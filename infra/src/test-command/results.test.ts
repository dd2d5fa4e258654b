import { expect, test } from 'vitest'
import { type GroupResult, joinSecondRun, readReport, summaryLine } from './results.ts'

const named = (name: string) => ({ file: '/f', name })
const failed = (name: string) => ({ file: '/f', name, messages: [] })
const result = (passed: string[], failures: string[] = [], skipped: string[] = []): GroupResult => ({
  passed: passed.map(named),
  failed: failures.map(failed),
  skipped: skipped.map(named),
})
/** The group itself failed, as a run without a report does. */
const broken = (why: string): GroupResult => ({
  passed: [],
  failed: [{ file: '', name: why, messages: [] }],
  skipped: [],
})
const names = ({ passed, failed: failures }: GroupResult) => ({
  passed: passed.map(({ name }) => name).sort(),
  failed: failures.map(({ name }) => name).sort(),
})

test('counts passed, failed and skipped tests', () => {
  const read = readReport({
    testResults: [
      {
        name: '/a',
        status: 'failed',
        assertionResults: [
          { fullName: 'one', status: 'passed' },
          { fullName: 'two', status: 'failed', failureMessages: ['expected 1'] },
          { fullName: 'three', status: 'pending' },
        ],
      },
    ],
  })
  expect(read).toEqual({
    passed: [{ file: '/a', name: 'one' }],
    failed: [{ file: '/a', name: 'two', messages: ['expected 1'] }],
    skipped: [{ file: '/a', name: 'three' }],
  })
})

test('a file that could not be loaded is a failure', () => {
  const read = readReport({
    testResults: [{ name: '/a', status: 'failed', message: 'no module', assertionResults: [] }],
  })
  expect(read.failed).toEqual([{ file: '/a', name: '/a', messages: ['no module'] }])
})

test('what passes only the second time counts as passed and is named', () => {
  const joined = joinSecondRun(result(['fine'], ['shaky', 'broken']), result(['fine', 'shaky'], ['broken']))
  expect(joined.unstable).toEqual(['shaky'])
  expect(names(joined.result)).toEqual({ passed: ['fine', 'shaky'], failed: ['broken'] })
})

test('a second run that reached only other tests forgives nothing', () => {
  const joined = joinSecondRun(result(['fine'], ['shaky']), result(['fine']))
  expect(joined.unstable).toEqual([])
  expect(names(joined.result)).toEqual({ passed: ['fine'], failed: ['shaky'] })
})

test('a second run that broke down forgives nothing, also what had passed in it', () => {
  const joined = joinSecondRun(result(['fine'], ['shaky']), broken('e2e-again: ended without a report'))
  expect(joined.unstable).toEqual([])
  expect(names(joined.result)).toEqual({
    passed: ['fine'],
    failed: ['e2e-again: ended without a report', 'shaky'],
  })
  const late = { ...broken('e2e-again: exit code 1'), passed: [named('shaky')] }
  expect(joinSecondRun(result(['fine'], ['shaky']), late).unstable).toEqual([])
})

test('a test of the same name in another file is another test', () => {
  const elsewhere = { passed: [{ file: '/g', name: 'shaky' }], failed: [], skipped: [] }
  expect(joinSecondRun(result([], ['shaky']), elsewhere).unstable).toEqual([])
})

test('a test that fails only the second time is a failure', () => {
  const joined = joinSecondRun(result(['fine', 'other'], ['shaky']), result(['fine', 'shaky'], ['other']))
  expect(names(joined.result)).toEqual({ passed: ['fine', 'shaky'], failed: ['other'] })
})

test('a file that could not be loaded at first is made good by its tests', () => {
  const notLoaded = { passed: [], failed: [{ file: '/f', name: '/f', messages: [] }], skipped: [] }
  const joined = joinSecondRun(notLoaded, result(['one', 'two']))
  expect(joined.unstable).toEqual(['/f'])
  expect(names(joined.result)).toEqual({ passed: ['one', 'two'], failed: [] })
  expect(joinSecondRun(notLoaded, result(['one'], ['two'])).unstable).toEqual([])
})

test('skipped tests are failures in the last line, until they pass', () => {
  expect(summaryLine([result(['a', 'b', 'c'], ['x']), result(['d', 'e'], [], ['left out'])])).toBe(
    '5 passed, 2 failed',
  )
  const joined = joinSecondRun(result([], ['hook'], ['after it']), result(['hook', 'after it']))
  expect(summaryLine([joined.result])).toBe('2 passed, 0 failed')
})

test('a failure of the whole group is made good by a second run of everything', () => {
  const noTest = broken('e2e: ran no test')
  expect(joinSecondRun(noTest, result(['one', 'two']))).toEqual({
    result: result(['one', 'two']),
    unstable: ['e2e: ran no test'],
  })
  const half = joinSecondRun(noTest, result(['one'], ['two']))
  expect(half.unstable).toEqual([])
  expect(names(half.result).failed).toEqual(['e2e: ran no test', 'two'])
})
