import { startApp } from '../load/app.ts'
import { ExactTimers } from '../load/exact-timers.ts'
import { smallAnswer } from '../load/replay.ts'
import { median } from '../statistics.ts'
import { tableLines } from '../table.ts'
import { inRounds, type Part, ratio, withProxies } from './bench.ts'
import { type Latency, latencyAt, perSecond } from './latency.ts'

/*
 * What a proxy adds to the latency of a small GET at a rate that is far from its limit. Requests are sent on a fixed
 * schedule and counted from it. "direct" asks the app without a proxy; what is added is the difference to it in the
 * same round. App and clients share one event loop, so they never wait for each other's turn on their processor.
 */

const concurrency = 80
const warmUpSeconds = 2

export const addedLatency: Part = {
  title: `Latency of a small GET at ${perSecond} requests/s on a fixed schedule`,
  async run(bench) {
    const app = await startApp((_path, answer) => answer(smallAnswer))
    const timers = new ExactTimers()
    try {
      return await withProxies(bench, { replicaPorts: [app.port], concurrency }, async (all) => {
        const subjects = [{ name: 'direct', port: app.port }, ...all]
        for (const { name, port } of subjects) await latencyAt(name, port, timers, warmUpSeconds)
        const measured = await inRounds(bench.rounds, subjects, ({ name, port }) =>
          latencyAt(name, port, timers, bench.seconds),
        )
        return latencyTable([...measured].map(([{ name }, rounds]) => [name, rounds]))
      })
    } finally {
      app.close()
    }
  },
}

function latencyTable(measured: readonly [string, readonly Latency[]][]): string[] {
  const direct = measured[0]?.[1] ?? []
  const added = new Map(
    measured.map(([name, rounds]) => [
      name,
      {
        p50: median(rounds.map(({ p50 }, round) => p50 - (direct[round]?.p50 ?? Number.NaN))),
        p99: median(rounds.map(({ p99 }, round) => p99 - (direct[round]?.p99 ?? Number.NaN))),
      },
    ]),
  )
  const nginx = added.get('nginx')
  const us = (ms: number | undefined) => (ms === undefined ? '' : `${(ms * 1000).toFixed(0)} us`)
  return tableLines(
    ['proxy', 'p50', 'p99', 'added p50', 'to nginx', 'added p99', 'to nginx'],
    measured.map(([name, rounds]) => {
      const own = name === 'direct' ? undefined : added.get(name)
      return [
        name,
        us(median(rounds.map(({ p50 }) => p50))),
        us(median(rounds.map(({ p99 }) => p99))),
        us(own?.p50),
        own ? ratio(own.p50, nginx?.p50) : '',
        us(own?.p99),
        own ? ratio(own.p99, nginx?.p99) : '',
      ]
    }),
  )
}
