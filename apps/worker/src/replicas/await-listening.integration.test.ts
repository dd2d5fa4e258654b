import type { ContainerRuntime, Listener } from '@berth/engine'
import { connectEngine } from '@berth/engine'
import type { NodeUid } from '@berth/contracts'
import { once } from 'node:events'
import { createServer, type AddressInfo, type Server } from 'node:net'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { awaitListening } from './await-listening.ts'
import { rememberAddresses } from './own-address.ts'
import type { ReplicaHost } from './replica-deps.ts'

/** What a connect finds open: for a proxy that accepts for nobody, and for an app at its own address. */
let server: Server
let open: number
let closed: number
beforeAll(async () => {
  server = createServer((socket) => socket.end()).listen(0, '127.0.0.1')
  const other = createServer().listen(0, '127.0.0.1')
  await Promise.all([once(server, 'listening'), once(other, 'listening')])
  open = (server.address() as AddressInfo).port
  closed = (other.address() as AddressInfo).port
  await new Promise((resolve) => other.close(resolve))
})
afterAll(() => server.close())

type Inside = { listeners?: () => Listener[]; ownAddress?: string | null; kind?: 'unix' | 'tcp' }

function hostWith(honestPorts: boolean, inside: Inside): ReplicaHost {
  const endpoint =
    inside.kind === 'tcp'
      ? ({ kind: 'tcp', host: '127.0.0.1', port: 1 } as const)
      : ({ kind: 'unix', path: '/nonexistent.sock' } as const)
  const runtime: ContainerRuntime = {
    ...connectEngine(endpoint),
    endpoint,
    readListeners: async () => inside.listeners?.() ?? [],
    networkAddressOf: async () => inside.ownAddress ?? null,
  }
  return {
    uid: 'nod-1' as NodeUid,
    name: 'n1',
    runtime,
    architecture: 'amd64',
    honestPorts,
    cpuMillis: 2000,
    sandboxImage: '',
    restoreSandboxImage: async () => {},
  }
}

const target = (hostPort: number, containerPort = 8080) => ({
  address: '127.0.0.1',
  hostPort,
  containerPort,
  sandboxId: 's',
})
const forever = new AbortController().signal

test('on an honest node a connect is the proof', async () => {
  expect(await awaitListening(hostWith(true, {}), target(open), forever)).toBe('listening')
})

test('on an honest node a socket inside proves nothing while the connect is refused', async () => {
  const listeners = () => [{ address: '0.0.0.0', port: 8080 }]
  const signal = AbortSignal.timeout(3_000)
  expect(await awaitListening(hostWith(true, { listeners }), target(closed), signal)).toBeNull()
})

test('behind a proxy a connect proves nothing, the socket inside does', async () => {
  let asked = 0
  const listeners = () => ((asked += 1) < 3 ? [] : [{ address: '::', port: 8080 }])
  const host = hostWith(false, { kind: 'tcp', listeners })
  expect(await awaitListening(host, target(open), forever)).toBe('listening')
  expect(asked).toBe(3)
})

test('a socket on loopback inside is not enough', async () => {
  const listeners = () => [{ address: '127.0.0.1', port: 8080 }]
  const host = hostWith(false, { kind: 'tcp', listeners })
  const answer = await awaitListening(host, { ...target(open), settledElsewhereMs: 200 }, forever)
  expect(answer).toEqual({
    reason: 'NotListening',
    message: 'expected :8080, found 127.0.0.1:8080',
  })
})

test('on a local engine behind a proxy the own address of the container is tried', async () => {
  const host = hostWith(false, { ownAddress: '127.0.0.1' })
  expect(await awaitListening(host, target(open, open), forever)).toBe('listening')
})

test('the own address of a sandbox is asked for once, or not at all where a list has told it', async () => {
  let asked = 0
  const local = hostWith(false, {})
  const runtime: ContainerRuntime = {
    ...local.runtime,
    async networkAddressOf() {
      asked += 1
      return '127.0.0.1'
    },
  }
  const host = { ...local, runtime }
  for (let times = 0; times < 2; times += 1)
    expect(await awaitListening(host, target(open, open), forever)).toBe('listening')
  expect(asked).toBe(1)

  const listed = { id: 't', name: 't', state: 'running', createdAt: 0, labels: {}, image: '' } as const
  rememberAddresses(runtime, [{ ...listed, address: '127.0.0.1' }])
  const other = { ...target(open, open), sandboxId: 't' }
  expect(await awaitListening(host, other, forever)).toBe('listening')
  expect(asked).toBe(1)
})

test('a container whose address leads nowhere is asked inside', async () => {
  const listeners = () => [{ address: '0.0.0.0', port: 8080 }]
  for (const ownAddress of [null, '127.255.255.255']) {
    const host = hostWith(false, { ownAddress, listeners })
    expect(await awaitListening(host, target(open), forever)).toBe('listening')
  }
})

test('an app that moves between ports is given more time, the resolver of Docker is not its own', async () => {
  let port = 3000
  const listeners = () => [
    { address: '127.0.0.11', port: 40_000 },
    { address: '::', port: port < 3010 ? (port += 1) : 8080 },
  ]
  const host = hostWith(false, { kind: 'tcp', listeners })
  const answer = await awaitListening(host, { ...target(open), settledElsewhereMs: 60_000 }, forever)
  expect(answer).toBe('listening')
})
