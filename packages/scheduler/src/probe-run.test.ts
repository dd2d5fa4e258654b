import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { newProbeRun, noteProbeResult, type ProbeThresholds, type ProbeVerdict } from './probe-run.ts'

function verdictAfter(first: ProbeVerdict, results: readonly boolean[], thresholds: ProbeThresholds) {
  return results.reduce((run, ok) => noteProbeResult(run, ok, thresholds), newProbeRun(first)).verdict
}

/** `+` is a success, `-` a failure. */
const resultsOf = (text: string) => text.split('').map((each) => each === '+')

describe('a probe', () => {
  const three = { successThreshold: 2, failureThreshold: 3 }
  test.each<[string, ProbeVerdict, string, ProbeVerdict]>([
    ['that passed passes until something else is known', 'passing', '', 'passing'],
    ['that failed fails until something else is known', 'failing', '', 'failing'],
    ['passes through fewer failures in a row than it takes', 'passing', '--', 'passing'],
    ['fails after as many failures in a row as it takes', 'passing', '---', 'failing'],
    ['counts failures anew after a success', 'passing', '--+--', 'passing'],
    ['fails on through fewer successes in a row than it takes', 'failing', '+', 'failing'],
    ['passes after as many successes in a row as it takes', 'failing', '++', 'passing'],
    ['counts successes anew after a failure', 'failing', '+-+', 'failing'],
    ['fails on while it fails', 'passing', '-----', 'failing'],
    ['that came back needs all its failures again', 'passing', '---++--', 'passing'],
  ])('%s', (_what, first, results, verdict) => {
    expect(verdictAfter(first, resultsOf(results), three)).toBe(verdict)
  })

  test('with thresholds of one follows every result', () => {
    fc.assert(
      fc.property(fc.array(fc.boolean(), { minLength: 1 }), (results) => {
        const verdict = verdictAfter('passing', results, { successThreshold: 1, failureThreshold: 1 })
        expect(verdict).toBe(results.at(-1) === true ? 'passing' : 'failing')
      }),
    )
  })

  test('has the verdict of the last run of results that was long enough', () => {
    const thresholds = fc.record({
      successThreshold: fc.integer({ min: 1, max: 4 }),
      failureThreshold: fc.integer({ min: 1, max: 4 }),
    })
    const first = fc.constantFrom<ProbeVerdict>('passing', 'failing')
    fc.assert(
      fc.property(first, fc.array(fc.boolean()), thresholds, (verdict, results, limits) => {
        const decided = results.findLastIndex((ok, index) => {
          const needed = ok ? limits.successThreshold : limits.failureThreshold
          return (
            index + 1 >= needed && results.slice(index + 1 - needed, index + 1).every((each) => each === ok)
          )
        })
        const expected = decided === -1 ? verdict : results[decided] === true ? 'passing' : 'failing'
        expect(verdictAfter(verdict, results, limits)).toBe(expected)
      }),
    )
  })
})
