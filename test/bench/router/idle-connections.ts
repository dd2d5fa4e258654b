import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { startTestChild, type TestChild } from '../../support/child.ts'
import { until } from '../../support/poll.ts'
import { startApp } from '../load/app.ts'
import { ExactTimers } from '../load/exact-timers.ts'
import { smallAnswer } from '../load/replay.ts'
import { loadCore } from '../machine.ts'
import { berth } from '../proxies/berth.ts'
import { caddy } from '../proxies/caddy.ts'
import { haproxy } from '../proxies/haproxy.ts'
import { nginx } from '../proxies/nginx.ts'
import type { RunningProxy } from '../proxies/proxy.ts'
import { kernelBytes, residentBytes } from '../proxies/usage.ts'
import { median } from '../statistics.ts'
import { tableLines } from '../table.ts'
import { type Bench, type Part, ratio, withProxies } from './bench.ts'
import { latencyAt, perSecond } from './latency.ts'

/*
 * What idle kept connections cost: memory of the proxy's processes for each, and the p99 of others while they are
 * there. Every connection has had one answer. The kernel's memory is that of both ends on this machine.
 */

const wanted = 10_000
/** Of a process beside its idle connections. */
const otherDescriptors = 500
const concurrency = 80
const warmUpSeconds = 2
const settleMs = 2000
const kept = [berth, nginx, haproxy, caddy]
const program = join(import.meta.dirname, 'idle-clients.ts')

type Idle = { name: string; bytesEach: number; kernelBytesEach: number; p99Before: number; p99With: number }

export const idleConnections: Part = {
  title: `${wanted} idle kept connections, and a client with ${perSecond} requests/s beside them`,
  async run(bench) {
    const count = Math.min(wanted, descriptorLimit() - otherDescriptors)
    const app = await startApp((_path, answer) => answer(smallAnswer))
    const measured: Idle[] = []
    try {
      for (const proxy of bench.proxies.filter((each) => kept.includes(each)))
        await withProxies(
          { ...bench, proxies: [proxy] },
          { replicaPorts: [app.port], concurrency },
          async ([only]) => {
            if (only) measured.push(await measure(only, count, bench))
          },
        )
    } finally {
      app.close()
    }
    const fewer = `Only ${count} connections: the limit of descriptors (ulimit -Hn) is ${descriptorLimit()}.`
    return [...(count < wanted ? [fewer, ''] : []), ...idleTable(measured)]
  },
}

async function measure(proxy: RunningProxy, count: number, bench: Bench): Promise<Idle> {
  const timers = new ExactTimers()
  const p99 = async () => {
    const rounds: number[] = []
    for (let round = 0; round < bench.rounds; round += 1)
      rounds.push((await latencyAt(proxy.name, proxy.port, timers, bench.seconds)).p99)
    return median(rounds)
  }
  await latencyAt(proxy.name, proxy.port, timers, warmUpSeconds)
  const p99Before = await p99()
  await delay(settleMs)
  const [before, kernelBefore] = [residentBytes(proxy), kernelBytes()]
  const clients = await openIdle(proxy, count)
  try {
    await delay(settleMs)
    const bytesEach = (residentBytes(proxy) - before) / count
    const kernelBytesEach = (kernelBytes() - kernelBefore) / count
    const p99With = await p99()
    if (clients.process.exitCode !== null) throw new Error(`${proxy.name}: ${clients.output()}`)
    return { name: proxy.name, bytesEach, kernelBytesEach, p99Before, p99With }
  } finally {
    await clients.stop('SIGKILL')
  }
}

async function openIdle({ name, port }: RunningProxy, count: number): Promise<TestChild> {
  const command = ['taskset', '-c', loadCore, process.execPath, program, String(port), String(count)]
  const clients = startTestChild(command)
  await until(() => clients.output().includes('open: ') || clients.process.exitCode !== null, {
    describe: `${count} idle connections`,
    timeoutMs: 60_000,
  })
  if (clients.process.exitCode === null) return clients
  throw new Error(`${name} does not keep ${count} connections: ${clients.output()}`)
}

/** What Node may raise its own limit to, and does. */
function descriptorLimit(): number {
  return Number(/^Max open files +\d+ +(\d+)/m.exec(readFileSync('/proc/self/limits', 'latin1'))?.[1])
}

function idleTable(measured: readonly Idle[]): string[] {
  const kib = (bytes: number) => `${(bytes / 1024).toFixed(1)} KiB`
  const ms = (value: number) => `${value.toFixed(2)} ms`
  return tableLines(
    ['proxy', 'memory each', 'kernel, both ends', 'p99 without', 'p99 with', 'ratio'],
    measured.map(({ name, bytesEach, kernelBytesEach, p99Before, p99With }) => [
      name,
      kib(bytesEach),
      kib(kernelBytesEach),
      ms(p99Before),
      ms(p99With),
      ratio(p99With, p99Before),
    ]),
  )
}
