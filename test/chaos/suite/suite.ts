import { messageOf } from '../../../infra/src/failure.ts'
import type { TestEngine } from '../../support/engines.ts'
import { partitionMark } from '../../support/partition-rules.ts'
import { openPartition } from '../../support/partition.ts'
import type { Platform } from '../../support/platform.ts'
import { nowMs } from './clock.ts'
import { type Fault, type Finding, type Target, targetOf } from './fault.ts'
import { openProbedService } from './probed-service.ts'
import { startProber } from './prober.ts'
import type { Tally } from './prober/tally.ts'
import { seededRandom } from '../../support/random.ts'
import { amountOf, type Extent, type Stage } from './stage.ts'
import { judge, type Verdict } from './verdict.ts'
import { whatIsNotWhole } from './whole.ts'

export type FaultResult = { name: string; target: Target; tally: Tally; finding: Finding; verdict: Verdict }

export type SuiteOptions = {
  seed: number
  extent: Extent
  /** Engines that this process has started, and so can start again. */
  engines?: readonly TestEngine[]
}

export type Suite = {
  /** Injects one fault under traffic, waits until all is whole again, and judges. Never throws for what it sees. */
  run(fault: Fault): Promise<FaultResult>
  /** Ends the traffic, mends what is cut and removes the service. */
  close(): Promise<void>
}

const serviceName = 'chaos'

/** What comes after a fault is worth a line when it takes longer than this. */
const notableMs = 10_000

function note(finding: Finding, line: string): void {
  finding.notes = [...(finding.notes ?? []), line]
}

/** Deploys the service that is probed and starts the traffic. */
export async function openSuite(platform: Platform, options: SuiteOptions): Promise<Suite> {
  const { seed, extent } = options
  const service = openProbedService(platform, serviceName)
  const problems = await service.outcomeOf(await service.insist())
  if (problems.length > 0) throw new Error(`the probed service did not come up: ${problems.join('; ')}`)
  await service.settled()
  const partition = openPartition(partitionMark(platform.connection.slot))
  const prober = startProber({
    port: platform.connection.ports.edge,
    host: platform.host(serviceName),
    service: serviceName,
    perSecond: amountOf(extent, { test: 40, short: 100, full: 200 }),
    slowMs: amountOf(extent, { test: 2000, short: 5000, full: 20_000 }),
    events: amountOf(extent, { test: 20, short: 50, full: 150 }),
  })
  const stage: Omit<Stage, 'random'> = {
    platform,
    service,
    extent,
    amount: (amount) => amountOf(extent, amount),
    seen: () => prober.peek(),
    partition,
    engines: new Map((options.engines ?? []).map((engine) => [engine.connection.name, engine])),
  }
  await prober.turn()

  async function inject(fault: Fault, on: Stage): Promise<Finding> {
    const startedAt = nowMs()
    try {
      return await fault.run(on)
    } catch (error) {
      return { injectedAt: startedAt, problems: [messageOf(error)] }
    }
  }

  return {
    async run(fault) {
      const on = { ...stage, random: seededRandom(seed, fault.name) }
      const before = new Set((await service.failed()).map(({ id }) => id))
      const finding = await inject(fault, on)
      // Old replicas cannot go while a long request holds them.
      await prober.rest()
      const since = nowMs()
      finding.problems.push(...(await whatIsNotWhole(on)))
      const wholeMs = nowMs() - since
      if (wholeMs > notableMs) note(finding, `whole again ${(wholeMs / 1000).toFixed(1)} s later`)
      const fresh = (await service.failed().catch(() => [])).filter(({ id }) => !before.has(id))
      for (const { node, reason, message } of fresh)
        note(finding, `a replica failed on ${node}: ${reason}, ${(message ?? '').replaceAll('\n', ' | ')}`)
      const tally = await prober.turn()
      const target = targetOf(fault, on)
      return { name: fault.name, target, tally, finding, verdict: judge(target, tally, finding) }
    },
    async close() {
      await prober.stop()
      await partition.close()
      await platform.remove(serviceName)
    },
  }
}
