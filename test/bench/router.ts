import { execFileSync } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { availableParallelism, loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { berth, berthOnUndici, berthWithoutLog } from './proxies/berth.ts'
import { caddy } from './proxies/caddy.ts'
import { haproxy } from './proxies/haproxy.ts'
import { nginx } from './proxies/nginx.ts'
import { httpProxy, httpxy, undici } from './proxies/node-libraries.ts'
import type { Proxy } from './proxies/proxy.ts'
import { addedLatency } from './router/added-latency.ts'
import type { Bench, Part } from './router/bench.ts'
import { idleConnections } from './router/idle-connections.ts'
import { get10k, get1m, post10k, smallGet } from './router/requests.ts'
import { webSocketEcho } from './router/websocket.ts'

/*
 * What the router costs and adds, beside other proxies in the same run. Every proxy has the same work: kept
 * connections to the app, the same headers added, no logs; Berth comes once so and once with everything on. The
 * proxies take turns on one processor, clients and app have another. docs/performance.md explains the figures.
 */

const usage = `npm run bench:router -- [--quick] [--rounds N] [--only part,...] [--proxies name,...]`

const parts: Record<string, Part> = {
  small: smallGet,
  '10k': get10k,
  '1m': get1m,
  post: post10k,
  latency: addedLatency,
  websocket: webSocketEcho,
  idle: idleConnections,
}
const proxies: Record<string, Proxy> = {
  'berth-no-log': berthWithoutLog,
  berth,
  'berth-on-undici': berthOnUndici,
  nginx,
  haproxy,
  caddy,
  'http-proxy': httpProxy,
  httpxy,
  undici,
}

/** It ends by itself even when something stands still; processes of its own end with it. */
const timeLimitMinutes = 45

const { values: options } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    rounds: { type: 'string' },
    only: { type: 'string', default: Object.keys(parts).join(',') },
    proxies: { type: 'string', default: Object.keys(proxies).join(',') },
  },
})
const rounds = Number(options.rounds ?? (options.quick ? 2 : 5))
if (!Number.isInteger(rounds) || rounds < 1) throw new Error(`--rounds is "${options.rounds}". ${usage}`)
if (availableParallelism() < 2) throw new Error('the benchmark needs two processors')

setTimeout(() => {
  console.error(`The benchmark has not ended within ${timeLimitMinutes} minutes.`)
  process.exit(1)
}, timeLimitMinutes * 60_000).unref()

const folder = await mkdtemp(join(tmpdir(), 'bench-router-'))
try {
  const bench: Bench = {
    proxies: present(chosen('proxies', options.proxies, proxies)),
    folder,
    proxyCore: '0',
    loadCore: '1',
    rounds,
    seconds: options.quick ? 1 : 3,
  }
  execFileSync('taskset', ['-a', '-c', '-p', bench.loadCore, String(process.pid)], { stdio: 'ignore' })
  const load = loadavg().map((each) => each.toFixed(1))
  console.log(`${rounds} rounds, medians; load of the machine before: ${load.join(', ')}`)
  for (const part of chosen('only', options.only, parts)) {
    console.log(`\n${part.title}\n`)
    for (const line of await part.run(bench)) console.log(line)
  }
} finally {
  await rm(folder, { recursive: true, force: true })
}

function chosen<Value>(option: string, names: string, from: Record<string, Value>): Value[] {
  return names.split(',').map((name) => {
    const value = from[name]
    if (value !== undefined) return value
    throw new Error(`--${option} has "${name}"; there are ${Object.keys(from).join(', ')}. ${usage}`)
  })
}

/** Those that can be run on this machine; says what to type for the others. */
function present(wanted: readonly Proxy[]): Proxy[] {
  return wanted.filter((proxy) => {
    const remedy = proxy.missing?.()
    if (remedy === undefined) console.log(`${proxy.name} ${proxy.version?.() ?? 'of this folder'}`)
    else console.log(`${proxy.name} is left out, it is not here: ${remedy}`)
    return remedy === undefined
  })
}
