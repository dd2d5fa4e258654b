import type { Proxy, ProxyPlace, RunningProxy } from '../proxies/proxy.ts'

/** What every part of the benchmark works with. */
export type Bench = {
  /** In the order in which they are shown; those that cannot be run here are left out. */
  proxies: readonly Proxy[]
  folder: string
  rounds: number
  /** How long one measurement takes. */
  seconds: number
  /** Take less of whatever takes long: figures are rough. */
  quick: boolean
}

/** A part of the benchmark: measures and resolves with lines to print. */
export type Part = {
  title: string
  run(bench: Bench): Promise<string[]>
}

/** Starts the proxies that can do what it needs in front of an app, hands them to `work`, and stops them whatever happens. */
export async function withProxies<Result>(
  bench: Bench,
  app: Pick<ProxyPlace, 'replicaPorts' | 'concurrency'> & { needs?: 'websocket' | 'h2c' },
  work: (running: readonly RunningProxy[]) => Promise<Result>,
): Promise<Result> {
  const running: RunningProxy[] = []
  const { replicaPorts, concurrency, needs } = app
  const place = {
    folder: bench.folder,
    replicaPorts,
    concurrency,
    protocol: needs === 'h2c' ? needs : 'http1',
  } as const
  try {
    for (const proxy of bench.proxies)
      if (needs === undefined || !proxy.lacks?.includes(needs)) running.push(await proxy.start(place))
    return await work(running)
  } finally {
    await Promise.all(running.map((proxy) => proxy.stop()))
  }
}

/** Measures all subjects once per round, in turns, so that what the machine does besides meets them alike. */
export async function inRounds<Subject, Measured>(
  rounds: number,
  subjects: readonly Subject[],
  measure: (subject: Subject) => Promise<Measured>,
): Promise<Map<Subject, Measured[]>> {
  const results = new Map<Subject, Measured[]>(subjects.map((subject) => [subject, []]))
  for (let round = 0; round < rounds; round += 1)
    for (const subject of subjects) results.get(subject)?.push(await measure(subject))
  return results
}

/** "1.53", or nothing where there is no such peer. */
export function ratio(value: number, to: number | undefined): string {
  return to === undefined || !Number.isFinite(value / to) ? '' : (value / to).toFixed(2)
}
