import { describe, expect, test } from 'vitest'
import { decideRestart, type RestartDecision } from './restart.ts'

const minuteMs = 60_000

/** What is decided for an app that ends again and again, so long after each start. */
function decisions(healthyMs: readonly number[], otherNodeFits: boolean): RestartDecision[] {
  let inARow = 0
  return healthyMs.map((healthy) => {
    const decision = decideRestart({ inARow, healthyMs: healthy }, () => otherNodeFits)
    inARow = decision.inARow
    return decision
  })
}

const waits = (decided: readonly RestartDecision[]) =>
  decided.map((decision) => (decision.kind === 'here' ? decision.waitMs : 'elsewhere'))

describe('an app that ends', () => {
  test('again and again waits twice as long each time, up to a minute, where no other node fits', () => {
    const seconds = waits(
      decisions(
        Array.from({ length: 9 }, () => 0),
        false,
      ),
    )
    expect(seconds).toEqual([1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000, 60_000])
  })

  test('three times in a row goes elsewhere where another node fits', () => {
    expect(waits(decisions([0, 0, 0], true))).toEqual([1000, 2000, 'elsewhere'])
  })

  test('begins anew after ten minutes of health, and not before', () => {
    expect(waits(decisions([0, 0, 10 * minuteMs, 0], true))).toEqual([1000, 2000, 1000, 2000])
    expect(waits(decisions([0, 0, 10 * minuteMs - 1], true))).toEqual([1000, 2000, 'elsewhere'])
  })
})
