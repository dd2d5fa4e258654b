import type { RunningProxy } from '../proxies/proxy.ts'
import { cpuSeconds } from '../proxies/usage.ts'
import { median } from '../statistics.ts'
import { tableLines } from '../table.ts'
import { ratio } from './bench.ts'

/**
 * What one unit of work cost a proxy: CPU time of its processes, user and system, over how often it was done. `busy`
 * is the share of its core that the proxy used: well below 1 it waited for clients or app, or was held up by other
 * work of the machine; then it does fewer things at a time and looks dearer than it is.
 */
export type Cost = { microseconds: number; busy: number }

export async function costOf(
  proxy: RunningProxy,
  work: () => Promise<{ count: number; seconds: number }>,
): Promise<Cost> {
  const before = cpuSeconds(proxy)
  const { count, seconds } = await work()
  const spent = cpuSeconds(proxy) - before
  return { microseconds: (spent / count) * 1e6, busy: spent / seconds }
}

/** What the ratios are to, where they are measured. */
const peers = ['nginx', 'HAProxy', 'Caddy', 'http-proxy']

/** Medians of the rounds with ratios; `unit` is "request" or the like, `bytes` what one of them carries. */
export function costTable(measured: Map<RunningProxy, Cost[]>, unit: string, bytes?: number): string[] {
  const rows = [...measured].map(([{ name }, rounds]) => ({
    name,
    microseconds: median(rounds.map((each) => each.microseconds)),
    busy: median(rounds.map((each) => each.busy)),
  }))
  const beside = peers.flatMap((peer) => rows.filter(({ name }) => name === peer))
  return tableLines(
    [
      'proxy',
      `CPU per ${unit}`,
      ...beside.map(({ name }) => `to ${name}`),
      'per CPU-second',
      'busy',
      ...(bytes === undefined ? [] : ['MB per CPU-second']),
    ],
    rows.map(({ name, microseconds, busy }) => [
      name,
      `${microseconds.toFixed(1)} us`,
      ...beside.map((peer) => ratio(microseconds, peer.microseconds)),
      (1e6 / microseconds).toFixed(0),
      `${(busy * 100).toFixed(0)} %`,
      ...(bytes === undefined ? [] : [(bytes / microseconds).toFixed(0)]),
    ]),
  )
}
