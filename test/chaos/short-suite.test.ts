import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { connectPlatform } from '../support/platform.ts'
import { mixedFault, singleFaults } from './suite/faults/index.ts'
import { headLine, reportFault } from './suite/report.ts'
import { openSuite, type Suite } from './suite/suite.ts'

/*
 * A few minutes' worth of `npm run chaos` in little more than one: the same faults, prober and verdicts, on the
 * platform that all chaos tests share. Faults that need engines of their own are left to the long runs.
 */

const seed = 3
const chosen = [
  'deployments, app exits at once',
  'deployments at maxScale 1',
  'scale-ins',
  'router restarted',
  'api killed',
  'worker killed',
  'redis flushed',
  'redis full',
  'postgres away',
  'app killed',
]

const platform = connectPlatform(inject('platform'))
let suite: Suite

beforeAll(async () => {
  suite = await openSuite(platform, { seed, extent: 'test' })
  console.log(headLine())
})
afterAll(() => suite.close())

test.each([...singleFaults, mixedFault].filter(({ name }) => chosen.includes(name) || name === 'mixed'))(
  'what was promised holds: $name',
  async (fault) => {
    const result = await suite.run(fault)
    console.log(reportFault(result))
    expect(result.tally.sent).toBeGreaterThan(50)
    expect(result.verdict.missed).toEqual([])
  },
)
