import { setTimeout as delay } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { longest, msUntil, nowMs } from '../clock.ts'
import type { Fault, Finding } from '../fault.ts'
import type { Stage } from '../stage.ts'

/** Redis and Postgres restarted, emptied, hung and away, alone and together with the rest of the control plane. */
export const storeFaults: readonly Fault[] = [
  {
    name: 'redis killed',
    target: {
      requests: { kind: 'none' },
      gapSeconds: 1,
      healSeconds: 5,
      state: 'deployments go on without it',
    },
    run: (stage) => inTheMiddle(stage, () => killStore(stage, 'redis')),
  },
  {
    name: 'redis flushed',
    target: {
      requests: { kind: 'none' },
      gapSeconds: 1,
      healSeconds: 10,
      state: 'nothing is forgotten or done twice',
    },
    run: (stage) =>
      inTheMiddle(stage, async () => {
        const redis = new Redis(stage.platform.connection.redisUrl)
        await redis.flushall()
        redis.disconnect()
      }),
  },
  {
    name: 'redis hung',
    target: {
      requests: { kind: 'none' },
      gapSeconds: 1,
      healSeconds: 5,
      state: 'deployments go on without it',
    },
    run: async (stage) => {
      const { platform } = stage
      const goesOn = () => platform.signal('redis', 'SIGCONT')
      const injectedAt = nowMs()
      await platform.signal('redis', 'SIGSTOP')
      return { injectedAt, ...(await deployWithout(stage, goesOn)) }
    },
  },
  {
    name: 'redis full',
    target: {
      requests: { kind: 'none' },
      gapSeconds: 1,
      healSeconds: 5,
      state: 'deployments go on without it',
    },
    run: async (stage) => {
      const redis = new Redis(stage.platform.connection.redisUrl)
      const hasRoom = () => redis.config('SET', 'maxmemory', '0')
      const injectedAt = nowMs()
      try {
        // It holds more than that already: whatever would write is refused.
        await redis.config('SET', 'maxmemory', '1')
        const refusal = await redis.set('full', '').catch((error: unknown) => String(error))
        const { healMs, problems } = await deployWithout(stage, hasRoom)
        if (!refusal?.includes('OOM')) problems.push(`Redis was not full: ${refusal}`)
        return { injectedAt, healMs, problems }
      } finally {
        redis.disconnect()
      }
    },
  },
  {
    name: 'postgres killed',
    target: {
      requests: { kind: 'none' },
      gapSeconds: 1,
      healSeconds: 3,
      state: 'the API says 503 within 2 s and never hangs',
    },
    run: async (stage) => {
      const { platform } = stage
      const injectedAt = nowMs()
      const pid = await platform.signal('postgres', 'SIGKILL')
      const problems = await slowRefusals(stage)
      await platform.waitForProcess('postgres', pid)
      const healMs = await apiIsBack(stage, nowMs())
      return { injectedAt, healMs, problems }
    },
  },
  {
    name: 'postgres away',
    target: {
      requests: { kind: 'none' },
      gapSeconds: 1,
      healSeconds: 3,
      state: 'the same replicas before and after; the API says 503 within 2 s',
    },
    run: (stage) =>
      whilePaused(stage, ['postgres'], stage.amount({ test: 5000, short: 30_000, full: 600_000 })),
  },
  {
    name: 'control plane away',
    target: {
      requests: { kind: 'none' },
      gapSeconds: 1,
      healSeconds: 15,
      state: 'the same replicas before and after',
    },
    run: (stage) =>
      whilePaused(
        stage,
        ['worker', 'api', 'redis', 'postgres'],
        stage.amount({ test: 5000, short: 60_000, full: 60_000 }),
      ),
  },
]

/** Does something to a store at some moments of a deployment, which must succeed all the same. */
async function inTheMiddle(stage: Stage, strike: () => Promise<void>): Promise<Finding> {
  const { service, random } = stage
  const injections: number[] = []
  const healings: number[] = []
  const problems: string[] = []
  for (let round = 0; round < stage.amount({ test: 1, short: 2, full: 10 }); round += 1) {
    const deployment = await service.insist()
    await delay(random.between(0, 800))
    const injectedAt = nowMs()
    await strike()
    problems.push(...(await service.outcomeOf(deployment)))
    injections.push(injectedAt)
    healings.push(nowMs() - injectedAt)
    await service.serving()
  }
  return { injectedAt: injections[0] ?? nowMs(), healMs: longest(healings) ?? 0, problems }
}

async function killStore({ platform }: Stage, name: string): Promise<void> {
  const pid = await platform.signal(name, 'SIGKILL')
  await platform.waitForProcess(name, pid)
}

/** Deploys while something is away, ends that with `mend` after a while, and deploys once more. */
async function deployWithout(
  stage: Stage,
  mend: () => Promise<unknown>,
): Promise<{ healMs: number; problems: string[] }> {
  try {
    const deployment = await stage.service.ask()
    const problems = await stage.service.outcomeOf(deployment)
    await delay(stage.amount({ test: 1000, short: 5000, full: 30_000 }))
    await mend()
    return { healMs: await deployAgain(stage, problems), problems }
  } finally {
    await mend()
  }
}

/** How long one more deployment takes from now on. */
async function deployAgain({ service }: Stage, problems: string[]): Promise<number> {
  const since = nowMs()
  problems.push(...(await service.outcomeOf(await service.insist())))
  return nowMs() - since
}

/** Milliseconds from `since` until the API answers with what is in the database. */
function apiIsBack({ platform }: Stage, since: number): Promise<number> {
  return msUntil(since, async () => (await platform.api('GET', '/services')).status === 200, {
    describe: 'the API to answer again',
  })
}

/** With the database away the API must say so, and soon. */
async function slowRefusals({ platform }: Stage): Promise<string[]> {
  const askedAt = nowMs()
  const { status } = await platform.api('GET', '/services')
  const ms = nowMs() - askedAt
  const problems = []
  if (status !== 503 && status !== 200) problems.push(`without its database the API answered ${status}`)
  if (ms > 2000) problems.push(`without its database the API took ${(ms / 1000).toFixed(1)} s to answer`)
  return problems
}

/** Keeps processes of the platform down for some time, and compares who serves before and after. */
async function whilePaused(stage: Stage, names: readonly string[], ms: number): Promise<Finding> {
  const { platform, service } = stage
  const before = await service.serving()
  const injectedAt = nowMs()
  const problems: string[] = []
  const paused: string[] = []
  try {
    for (const name of names) {
      await platform.pause(name)
      paused.push(name)
    }
    if (!names.includes('api')) problems.push(...(await slowRefusals(stage)))
    await delay(Math.max(0, injectedAt + ms - nowMs()))
  } finally {
    for (const name of paused.toReversed()) await platform.resume(name)
  }
  const resumedAt = nowMs()
  const healMs = await apiIsBack(stage, resumedAt)
  // A leader that has just read everything again would stop what it does not know within seconds.
  await delay(stage.amount({ test: 3000, short: 5000, full: 15_000 }))
  const after = new Set((await service.serving()).map(({ id }) => id))
  const lost = before.filter(({ id }) => !after.has(id))
  if (lost.length > 0) problems.push(`${lost.length} of ${before.length} replicas were replaced`)
  return { injectedAt, healMs, problems }
}
