import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { loadOfMachine, prepareProcess } from './machine.ts'
import { berth, berthOnUndici, berthWithoutLog } from './proxies/berth.ts'
import { caddy } from './proxies/caddy.ts'
import { haproxy } from './proxies/haproxy.ts'
import { nginx } from './proxies/nginx.ts'
import { httpProxy, httpxy, undici } from './proxies/node-libraries.ts'
import { type Proxy, present } from './proxies/proxy.ts'
import { addedLatency } from './router/added-latency.ts'
import type { Part } from './router/bench.ts'
import { grpcUnary } from './router/grpc.ts'
import { idleConnections } from './router/idle-connections.ts'
import { get10k, get1m, post10k, smallGet } from './router/requests.ts'
import { slowBodies } from './router/slow-bodies.ts'
import { webSocketEcho } from './router/websocket.ts'

/*
 * What the router costs and adds, beside other proxies in the same run. Every proxy has the same work: kept
 * connections to the app, the same headers added, no logs; Berth comes once so and once with everything on. The
 * proxies take turns on one processor, clients and app have another. docs/performance.md explains the figures.
 */

const usage = 'npm run bench:router -- [--quick] [--rounds N] [--only part,...] [--proxies name,...]'

const parts: Record<string, Part> = {
  small: smallGet,
  '10k': get10k,
  '1m': get1m,
  post: post10k,
  latency: addedLatency,
  websocket: webSocketEcho,
  grpc: grpcUnary,
  idle: idleConnections,
  bodies: slowBodies,
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
const chosenParts = chosen('only', options.only, parts)
const chosenProxies = chosen('proxies', options.proxies, proxies)

prepareProcess(10 + 10 * rounds)
const folder = await mkdtemp(join(tmpdir(), 'bench-router-'))
try {
  const bench = {
    proxies: present(chosenProxies),
    folder,
    rounds,
    seconds: options.quick ? 1 : 3,
    quick: options.quick,
  }
  console.log(`${rounds} rounds, medians; load of the machine before: ${loadOfMachine()}`)
  for (const part of chosenParts) {
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
