import { expect, test } from 'vitest'
import { type GroupResult, joinSecondRun, readReport, summaryLine } from './results.ts'

const failed = (name: string) => ({ file: '/f', name, messages: [] })
const result = (passed: number, names: string[] = [], skipped: string[] = []): GroupResult => ({
  passed,
  failed: names.map(failed),
  skipped,
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
    passed: 1,
    failed: [{ file: '/a', name: 'two', messages: ['expected 1'] }],
    skipped: ['three'],
  })
})

test('a file that could not be loaded is a failure', () => {
  const read = readReport({
    testResults: [{ name: '/a', status: 'failed', message: 'no module', assertionResults: [] }],
  })
  expect(read.failed).toEqual([{ file: '/a', name: '/a', messages: ['no module'] }])
})

test('what passes only the second time counts as passed and is named', () => {
  const joined = joinSecondRun(result(5, ['shaky', 'broken']), result(1, ['broken']))
  expect(joined.unstable).toEqual(['shaky'])
  expect(joined.result).toEqual(result(6, ['broken']))
})

test('a second run that reached no test excuses nothing', () => {
  const joined = joinSecondRun(result(5, ['shaky']), result(0))
  expect(joined).toEqual({ result: result(5, ['shaky']), unstable: [] })
})

test('a test that fails only the second time is a failure', () => {
  expect(joinSecondRun(result(5, ['shaky']), result(1, ['other'])).result).toEqual(result(5, ['other']))
})

test('skipped tests are failures in the last line', () => {
  expect(summaryLine([result(3, ['x']), result(2, [], ['left out'])])).toBe('5 passed, 2 failed')
})

test('after a failure of the whole group only its second run counts', () => {
  const noTest = { passed: 0, failed: [{ file: '', name: 'e2e: ran no test', messages: [] }], skipped: [] }
  const again = { ...noTest, failed: [{ file: '', name: 'e2e-again: ran no test', messages: [] }] }
  expect(joinSecondRun(noTest, again)).toEqual({ result: again, unstable: [] })
  expect(joinSecondRun(noTest, result(9, ['broken']))).toEqual({
    result: result(9, ['broken']),
    unstable: [],
  })
  expect(joinSecondRun(noTest, result(9))).toEqual({ result: result(9), unstable: ['e2e: ran no test'] })
})
