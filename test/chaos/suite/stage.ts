import type { TestEngine } from '../../support/engines.ts'
import type { Partition } from '../../support/partition.ts'
import type { Platform } from '../../support/platform.ts'
import type { ProbedService } from './probed-service.ts'
import type { Tally } from './prober/tally.ts'
import type { Random } from '../../support/random.ts'

/** How much is done: `test` is part of `./berth test`, `short` takes minutes, `full` proves the promises. */
export type Extent = 'test' | 'short' | 'full'

/** A number for each extent; `short` also stands for `test` where that has none of its own. */
export type Amount = { test?: number; short: number; full: number }

/** Everything that a fault works with. */
export type Stage = {
  platform: Platform
  /** What the prober asks all the time. */
  service: ProbedService
  extent: Extent
  amount(amount: Amount): number
  /** What the prober has seen since this fault began. */
  seen(): Promise<Tally>
  /** The fault's own stream of chance. */
  random: Random
  partition: Partition
  /** The engines that this run has started itself, by name: those it can start again. */
  engines: ReadonlyMap<string, TestEngine>
}

export function amountOf(extent: Extent, amount: Amount): number {
  return extent === 'test' ? (amount.test ?? amount.short) : amount[extent]
}
