import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startTestChild, type TestChild } from '../support/child.ts'
import { askFor } from './router/generator.ts'
import { startBerth, startNginx, type Subject } from './router/subjects.ts'

/*
 * What a small GET on a kept connection costs the router: CPU time of its process, user and system, over the number
 * of answers. The proxies share one core and take turns; generator and app have the other one. Beside them:
 *
 *   own, no log     Berth without access lines, as nginx is measured
 *   own             Berth with everything on
 *   undici, no log  the reference mode, without access lines
 *   nginx           where it is installed, with the same headers added
 *
 * `node test/bench/router.ts [rounds]`, 5 unless said, about a minute.
 */

const rounds = Number(process.argv[2] ?? 5)
const roundMs = 2500
const warmUpMs = 5000
const connections = 64
const proxyCore = '0'
const otherCore = '1'
/** `getconf CLK_TCK` on every Linux that Node runs on. */
const ticksPerSecond = 100

type Round = { microseconds: number; perSecond: number }

/** User and system time of a process so far, in seconds. */
function cpuSeconds({ process: { pid } }: TestChild): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
  // Fields 14 and 15; the name of the program, the second, may hold blanks.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond
}

async function measure({ child, port }: Subject): Promise<Round> {
  const before = cpuSeconds(child)
  const answers = await askFor(roundMs, port, connections)
  const spent = cpuSeconds(child) - before
  return { microseconds: (spent / answers) * 1e6, perSecond: (answers / roundMs) * 1000 }
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
}

const folder = await mkdtemp(join(tmpdir(), 'bench-router-'))
const children: TestChild[] = []
try {
  execFileSync('taskset', ['-a', '-c', '-p', otherCore, String(process.pid)], { stdio: 'ignore' })
  const origin = startTestChild([
    'taskset',
    '-c',
    otherCore,
    process.execPath,
    join(import.meta.dirname, 'router/origin.ts'),
  ])
  children.push(origin)
  if (origin.process.stdout) await once(origin.process.stdout, 'data')
  const place = { folder, originPort: Number(origin.output()), core: proxyCore }

  const quiet = { BERTH_LOG_LEVEL: 'warn' }
  const subjects: Subject[] = [
    await startBerth('own, no log', place, quiet),
    await startBerth('own', place, {}),
    await startBerth('undici, no log', place, { ...quiet, BERTH_ROUTER_CLIENT: 'undici' }),
  ]
  children.push(...subjects.map(({ child }) => child))
  const peer = await startNginx(place)
  if (peer) {
    subjects.push(peer)
    children.push(peer.child)
  } else console.log('nginx is not installed, so there is no peer: apt-get install nginx-light')

  for (const { port } of subjects) await askFor(warmUpMs, port, connections)
  const results = new Map<string, Round[]>(subjects.map(({ name }) => [name, []]))
  for (let round = 0; round < rounds; round += 1)
    for (const subject of subjects) results.get(subject.name)?.push(await measure(subject))

  const costOf = (name: string) => median((results.get(name) ?? []).map(({ microseconds }) => microseconds))
  const ratio = (name: string, to: string) => (costOf(name) / costOf(to)).toFixed(2)
  console.log(`${connections} connections, ${rounds} rounds of ${roundMs} ms, medians`)
  console.log('| proxy          | CPU per request | to nginx | to undici | requests/s |')
  console.log('| -------------- | --------------: | -------: | --------: | ---------: |')
  for (const [name, measured] of results) {
    const cells = [
      name.padEnd(14),
      `${costOf(name).toFixed(1)} us`.padStart(15),
      (peer ? ratio(name, peer.name) : '').padStart(8),
      ratio(name, 'undici, no log').padStart(9),
      median(measured.map(({ perSecond }) => perSecond))
        .toFixed(0)
        .padStart(10),
    ]
    console.log(`| ${cells.join(' | ')} |`)
  }
} finally {
  await Promise.all(children.map((child) => child.stop('SIGKILL')))
  await rm(folder, { recursive: true, force: true })
}
