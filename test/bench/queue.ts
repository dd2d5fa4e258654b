import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { seededRandom } from '../support/random.ts'
import { poisson } from './load/schedule.ts'
import { loadOfMachine, prepareProcess } from './machine.ts'
import { berth } from './proxies/berth.ts'
import { haproxy } from './proxies/haproxy.ts'
import { present, type RunningProxy } from './proxies/proxy.ts'
import { waitsOfCentralQueue } from './queue/central-queue.ts'
import { type Served, startService } from './queue/service.ts'
import { joined, pairedTable, waitsTable } from './queue/waits.ts'
import { tableLines } from './table.ts'

/*
 * How long requests wait for a slot where a service with concurrency 1 gets 95 % of what its replicas can do: Berth
 * beside HAProxy with `maxconn 1` per server and its queue. Both get the same arrivals, a Poisson schedule from a seed,
 * in turns. Afterwards both get arrivals of which some leave early. Throughout, the replicas count requests that came
 * while they were at work on another one; one at Berth, and the benchmark fails.
 */

const usage = 'npm run bench:queue -- [--quick] [--rounds N] [--service-ms N] [--leaving N] [--seed N]'
const replicaCount = 4
const load = 0.95
const warmUpSeconds = 3
/** Several times as long as a queue takes to forget its past at this load and such service times. */
const blockSeconds = 2
const blocksPerRound = 10
const leavingShare = 0.05
const leavingWithinServiceTimes = 4

const { values: options } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    rounds: { type: 'string' },
    'service-ms': { type: 'string', default: '10' },
    leaving: { type: 'string' },
    seed: { type: 'string', default: '1' },
  },
})
const rounds = whole('rounds', options.rounds ?? (options.quick ? '1' : '5'))
const serviceMs = whole('service-ms', options['service-ms'])
const leavingCount = whole('leaving', options.leaving ?? (options.quick ? '1000' : '10000'))
const seed = whole('seed', options.seed)
const perSecond = (load * replicaCount * 1000) / serviceMs
const perBlock = Math.round(perSecond * blockSeconds)

prepareProcess(10 + 2 * rounds + (3 * leavingCount) / perSecond / 60)
if (present([berth, haproxy]).length < 2) throw new Error('there is nothing to measure Berth beside')
const folder = await mkdtemp(join(tmpdir(), 'bench-queue-'))
const service = await startService(replicaCount, serviceMs)
const running: RunningProxy[] = []
try {
  const place = { folder, replicaPorts: service.ports, concurrency: 1, protocol: 'http1' } as const
  for (const proxy of [berth, haproxy]) running.push(await proxy.start(place))
  console.log(
    `${rounds} rounds of ${blocksPerRound * blockSeconds} s, ${replicaCount} replicas with a service time of ` +
      `${serviceMs} ms, ${perSecond} requests/s, seed ${seed}; load of the machine before: ${loadOfMachine()}\n`,
  )
  const stayed = await serveAll()
  console.log('')
  const left = await serveLeaving()
  console.log('')
  showCounts([...stayed, ...left])
} finally {
  await Promise.all(running.map((proxy) => proxy.stop()))
  service.close()
  await rm(folder, { recursive: true, force: true })
}

type Count = [what: string, proxy: RunningProxy, served: Served[]]

/** Measures waits where nobody leaves. */
async function serveAll(): Promise<Count[]> {
  const served = new Map(running.map((proxy) => [proxy, [] as Served[]]))
  const warmUp = arrivals('warm-up', Math.round(perSecond * warmUpSeconds))
  for (const proxy of running) await service.serve(proxy, warmUp)
  const schedules = Array.from({ length: rounds }, (_, round) =>
    arrivals(`round ${round}`, perBlock * blocksPerRound),
  )
  for (const [round, schedule] of schedules.entries())
    // Who is first changes, so that what drifts meets both alike.
    for (const proxy of round % 2 === 0 ? running : running.toReversed()) {
      const result = await service.serve(proxy, schedule)
      const lost = schedule.length - result.answered
      if (lost > 0) throw new Error(`${lost} of ${schedule.length} requests to ${proxy.name} failed`)
      served.get(proxy)?.push(result)
    }

  const ideal = joined(schedules.map((each) => waitsOfCentralQueue(each, replicaCount, serviceMs)))
  const measured = [...served].map(([{ name }, each]) => ({
    name,
    waits: joined(each.map(({ waitsMs }) => waitsMs)),
  }))
  for (const line of waitsTable([{ name: 'one queue, computed', waits: ideal }, ...measured]))
    console.log(line)
  const [mine, theirs] = measured
  if (!mine || !theirs) throw new Error('two proxies are measured')
  console.log(`\n${mine.name} to ${theirs.name}, request by request\n`)
  const random = seededRandom(seed, 'bootstrap')
  for (const line of pairedTable(mine.waits, theirs.waits, perBlock, random)) console.log(line)
  return [...served].map(([proxy, each]) => ['all stay', proxy, each])
}

/** Some leave, while they wait or while a replica works for them. */
async function serveLeaving(): Promise<Count[]> {
  const schedule = arrivals('leaving', leavingCount)
  const random = seededRandom(seed, 'patience')
  const patience = Array.from(schedule, () =>
    random.fraction() < leavingShare ? random.fraction() * leavingWithinServiceTimes * serviceMs : undefined,
  )
  const counts: Count[] = []
  for (const proxy of running)
    counts.push([`${leavingShare * 100} % leave`, proxy, [await service.serve(proxy, schedule, patience)]])
  return counts
}

/** Fails where Berth sent a replica two requests at once. */
function showCounts(counts: readonly Count[]): void {
  const sum = (served: readonly Served[], of: (each: Served) => number) =>
    served.reduce((total, each) => total + of(each), 0)
  const rows = counts.map(([what, { name }, served]) => ({
    what: `${name}, ${what}`,
    name,
    answered: sum(served, (each) => each.answered),
    requests: sum(served, ({ seen }) => seen.requests),
    overlaps: sum(served, ({ seen }) => seen.overlaps),
    workMs: sum(served, ({ seen }) => seen.workMs),
  }))
  const cells = rows.map(({ what, answered, requests, overlaps, workMs }) => [
    what,
    ...[answered, requests, overlaps].map(String),
    `${(workMs / requests).toFixed(2)} ms`,
  ])
  const heads = ['counts', 'answered', 'at replicas', 'two at once', 'service time']
  for (const line of tableLines(heads, cells)) console.log(line)
  if (!rows.some(({ name, overlaps }) => name === berth.name && overlaps > 0)) return
  console.error('Berth sent a replica a request while it was at work on another one.')
  process.exitCode = 1
}

function arrivals(purpose: string, count: number) {
  return poisson(perSecond, count, seededRandom(seed, purpose))
}

function whole(option: string, text: string): number {
  const value = Number(text)
  if (Number.isInteger(value) && value > 0) return value
  throw new Error(`--${option} is "${text}" and must be a whole number above 0. ${usage}`)
}
