import { setTimeout as delay } from 'node:timers/promises'
import { longest, nowMs } from '../clock.ts'
import type { Fault, Finding } from '../fault.ts'
import { replicaCount, type SigtermHabit } from '../probed-service.ts'
import type { Stage } from '../stage.ts'

/** What a team does all day, which must never be a fault: deployments in a row, scale-ins, and a bad revision. */
export const rolloutFaults: readonly Fault[] = [
  deployments('exits at once'),
  deployments('ignores it'),
  {
    name: 'deployments at maxScale 1',
    target: { requests: { kind: 'none' }, gapSeconds: 1, state: 'each succeeds' },
    run: deployTheOnlyReplica,
  },
  {
    name: 'scale-ins',
    target: { requests: { kind: 'none' }, gapSeconds: 1 },
    run: scaleInAndOut,
  },
  {
    name: 'crashing revision',
    target: { requests: { kind: 'none' }, gapSeconds: 1, state: 'the old revision serves throughout' },
    run: deployWhatCrashes,
  },
]

/** At 200 requests per second, twenty rounds of this length make more than 20,000 requests. */
const roundMs = 5500

function deployments(habit: SigtermHabit): Fault {
  return {
    name: `deployments, app ${habit}`,
    target: ({ extent }) => ({
      requests: { kind: 'none', ...(extent === 'full' ? { atLeast: 20_000 } : {}) },
      gapSeconds: 1,
      state: 'each succeeds',
    }),
    async run(stage) {
      const { service } = stage
      const injectedAt = nowMs()
      const took: number[] = []
      const problems: string[] = []
      for (let round = 0; round < stage.amount({ test: 2, short: 4, full: 20 }); round += 1) {
        const startedAt = nowMs()
        problems.push(...(await service.outcomeOf(await service.ask({ habit }))))
        took.push(nowMs() - startedAt)
        // The long runs begin the next one while the replicas of this one are still coming.
        if (stage.extent === 'test') await service.serving()
        await delay(Math.max(0, startedAt + stage.amount({ test: 0, short: 2000, full: roundMs }) - nowMs()))
      }
      return {
        injectedAt,
        problems,
        notes: [`slowest deployment ${((longest(took) ?? 0) / 1000).toFixed(1)} s`],
      }
    },
  }
}

/** The old replica is all there may be, and the new one takes its time: it must come before the old one goes. */
async function deployTheOnlyReplica(stage: Stage): Promise<Finding> {
  const { service } = stage
  await service.scaleTo(1)
  await service.serving(1)
  const injectedAt = nowMs()
  const problems: string[] = []
  const wish = { env: { START_DELAY_MS: '2000' }, more: { minScale: 1, maxScale: 1 } }
  for (let round = 0; round < stage.amount({ test: 1, short: 3, full: 10 }); round += 1) {
    problems.push(...(await service.outcomeOf(await service.ask(wish))))
    await service.serving(1)
  }
  await service.outcomeOf(await service.insist())
  await service.serving()
  return { injectedAt, problems }
}

async function scaleInAndOut(stage: Stage): Promise<Finding> {
  const { service } = stage
  const injectedAt = nowMs()
  const took: number[] = []
  for (let round = 0; round < stage.amount({ test: 1, short: 2, full: 10 }); round += 1) {
    await service.scaleTo(1)
    const since = nowMs()
    await service.serving(1)
    took.push(nowMs() - since)
    await service.scaleTo(replicaCount)
    await service.serving(replicaCount)
  }
  return {
    injectedAt,
    problems: [],
    notes: [`slowest scale-in ${((longest(took) ?? 0) / 1000).toFixed(1)} s`],
  }
}

async function deployWhatCrashes(stage: Stage): Promise<Finding> {
  const { platform, service } = stage
  const before = (await platform.service(service.name)).status.latestReadyRevision
  const injectedAt = nowMs()
  // It ends before it listens, so it is never ready.
  const { id } = await service.insist({ env: { START_DELAY_MS: '60000', EXIT_AFTER_MS: '50' } })
  await delay(stage.amount({ short: 8000, full: 30_000 }))
  await platform.expectApi([200, 202, 409], 'POST', `/deployments/${id}/cancel`)
  const { phase } = await platform.waitForDeployment(id)
  const after = (await platform.service(service.name)).status.latestReadyRevision
  const problems = await service.outcomeOf(await service.insist())
  if (phase !== 'failed' && phase !== 'cancelled') problems.push(`the deployment ended ${phase}`)
  if (after !== before) problems.push(`the ready revision went from ${before} to ${after}`)
  return { injectedAt, problems }
}
