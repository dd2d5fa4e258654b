import { setTimeout as delay } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { longest, nowMs } from '../clock.ts'
import type { Fault } from '../fault.ts'
import type { Stage } from '../stage.ts'

/** What users must not notice alone, they must not notice together either. Each strike takes itself back. */
type Strike = { name: string; hit(stage: Stage): Promise<void> }

const strikes: readonly Strike[] = [
  ...['api', 'worker', 'redis', 'postgres'].map((name): Strike => ({
    name: `${name} killed`,
    async hit({ platform }) {
      const pid = await platform.signal(name, 'SIGKILL')
      await platform.waitForProcess(name, pid)
    },
  })),
  { name: 'router restarted', hit: ({ platform }) => platform.restart('router') },
  {
    name: 'redis flushed',
    async hit({ platform }) {
      const redis = new Redis(platform.connection.redisUrl, { retryStrategy: () => null })
      redis.on('error', () => undefined)
      await redis.flushall().catch(() => undefined)
      redis.disconnect()
    },
  },
  {
    name: 'worker stopped',
    async hit({ platform }) {
      const pid = await platform.signal('worker', 'SIGSTOP')
      await delay(7000)
      try {
        process.kill(pid, 'SIGCONT')
      } catch {
        // Another strike has killed it meanwhile.
      }
    },
  },
]

/** The second part: in each round a deployment, and two or three strikes at moments of their own. */
export const mixedFault: Fault = {
  name: 'mixed',
  target: {
    requests: { kind: 'none' },
    gapSeconds: 1,
    healSeconds: 30,
    state: '0 lost, 0 doubled, 0 orphans',
  },
  async run(stage) {
    const { service, random } = stage
    const injectedAt = nowMs()
    const healings: number[] = []
    const problems: string[] = []
    const notes: string[] = []
    for (let round = 0; round < stage.amount({ test: 1, short: 3, full: 20 }); round += 1) {
      const chosen = random.shuffle(strikes).slice(0, random.between(2, 3))
      const plan = chosen.map((strike) => ({ strike, afterMs: random.between(0, 2000) }))
      const named = plan.map(({ strike, afterMs }) => `${strike.name} at ${afterMs} ms`).join(', ')
      notes.push(`round ${round + 1}: ${named}`)
      const deployment = await service.insist()
      const struck = await Promise.allSettled(
        plan.map(async ({ strike, afterMs }) => {
          await delay(afterMs)
          await strike.hit(stage)
        }),
      )
      const since = nowMs()
      const failed = struck.filter(({ status }) => status === 'rejected').length
      if (failed > 0) notes.push(`round ${round + 1}: ${failed} strikes met a process that was down already`)
      problems.push(...(await service.outcomeOf(deployment)).map((problem) => `${problem} (${named})`))
      await service.serving()
      healings.push(nowMs() - since)
    }
    return { injectedAt, healMs: longest(healings) ?? 0, problems, notes }
  },
}
