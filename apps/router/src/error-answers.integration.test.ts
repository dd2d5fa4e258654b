import type { RequestListener } from 'node:http'
import { connect, type Socket } from 'node:net'
import { pino } from 'pino'
import { afterEach, describe, expect, test } from 'vitest'
import type { RevisionRoute } from '@berth/contracts'
import { parseConfig } from './config.ts'
import { startRouter } from './router.ts'
import { ask, eventually, sendRaw, startApp, startEdge, type Answer } from './testing/edge.ts'
import { aHost, aReplica, aRevision, aSnapshot, testInstallation } from './testing/routes.ts'
import { startStandInLeader } from './testing/stand-in-leader.ts'

const endings: (() => Promise<unknown> | void)[] = []
const atEnd = (ending: () => Promise<unknown> | void) => endings.push(ending)
afterEach(async () => {
  for (const ending of endings.splice(0).reverse()) await ending()
})

async function app(listener: RequestListener): Promise<number> {
  const started = await startApp(listener)
  atEnd(() => started.close())
  return started.port
}

async function edgeOf(revision: Partial<RevisionRoute>, env?: Record<string, string>) {
  const edge = await startEdge({ revisions: [aRevision(revision)] }, env)
  atEnd(() => edge.close())
  return edge
}

/** What a client can decide by. */
function verdict({ status, headers, body }: Answer) {
  expect(headers['content-type']).toBe('application/problem+json')
  const problem = JSON.parse(body) as { status: number; code: string; requestId: string }
  expect(problem.status).toBe(status)
  expect(problem.requestId).toBe(headers['x-request-id'])
  return { status, code: problem.code, retryAfter: headers['retry-after'] }
}

const get = 'GET / HTTP/1.1\r\nHost: hello.localhost\r\n\r\n'

/** Requests that get no answer for now, one on each connection. */
function crowd(port: number, connections: number, bytes: string): Socket[] {
  const sockets = Array.from({ length: connections }, () => connect(port, '127.0.0.1'))
  atEnd(() => sockets.forEach((socket) => socket.destroy()))
  for (const socket of sockets) socket.on('error', () => undefined).write(bytes)
  return sockets
}

describe('nothing serves the request', () => {
  test('no table yet is 503 and the router is not ready; both end with the first table', async () => {
    const leader = await startStandInLeader(() => undefined)
    atEnd(() => leader.close())
    const config = parseConfig({
      BERTH_INSTALLATION: testInstallation,
      BERTH_HUB_SOCKET: leader.socketPath,
      BERTH_ROUTE_TABLE_FILE: `${leader.folder}/routes.json`,
      BERTH_EDGE_PORT: '0',
      BERTH_ROUTER_ADMIN_PORT: '0',
      BERTH_ROUTER_DRAIN_SECONDS: '0',
    })
    const router = await startRouter(config, pino({ level: 'silent' }))
    atEnd(() => router.stop())
    const port = router.edgePorts[0] ?? 0
    const ready = async () => (await ask({ port: router.adminPort, path: '/readyz' })).status
    expect(verdict(await ask({ port }))).toEqual({ status: 503, code: 'no-table', retryAfter: '1' })
    expect(await ready()).toBe(503)
    leader.send(aSnapshot({ hosts: [] }))
    await eventually(async () => (await ready()) === 200)
    expect(verdict(await ask({ port }))).toMatchObject({ status: 404, code: 'unknown-host' })
  })

  test('a host whose revision is not in the table is 503', async () => {
    const edge = await startEdge({ hosts: [aHost({ targets: [{ revision: 'gone', percent: 100 }] })] })
    atEnd(() => edge.close())
    const answer = verdict(await ask({ port: edge.port }))
    expect(answer).toEqual({ status: 503, code: 'no-replica', retryAfter: '1' })
  })

  test('what cannot be placed, or cannot start, is 503 at once', async () => {
    const blocked = { reason: 'Unplaceable', message: '1 node: memory' }
    const { port, change, leader } = await edgeOf({ blocked })
    const unplaceable = { status: 503, code: 'unplaceable', retryAfter: '10' }
    expect(verdict(await ask({ port }))).toEqual(unplaceable)
    const { version } = change(aRevision({ blocked: { reason: 'ImageNotFound', message: 'no such tag' } }))
    await eventually(() => leader.last('acknowledge')?.version.sequence === version.sequence)
    expect(verdict(await ask({ port }))).toEqual({ ...unplaceable, code: 'revision-failed' })
  })
})

describe('too many requests wait', () => {
  test('small bodies take little room: 2,000 of them wait', async () => {
    const { port, leader } = await edgeOf({})
    const post = 'POST / HTTP/1.1\r\nHost: hello.localhost\r\nContent-Length: 5\r\n\r\nhello'
    crowd(port, 2000, post)
    await eventually(() => leader.last('demand')?.queued === 2000)
  })

  const limit = { BERTH_ROUTER_QUEUE_LIMIT: '100' }

  test('the one behind the limit is 503 while replicas are starting', async () => {
    const { port, leader } = await edgeOf({}, limit)
    crowd(port, 100, get)
    await eventually(() => leader.last('demand')?.queued === 100)
    expect(verdict(await ask({ port }))).toEqual({ status: 503, code: 'queue-full', retryAfter: '2' })
  })

  test('the one behind the limit is 429 when every replica is busy and no more may come', async () => {
    const busy = { atMaxScale: true, concurrency: 1, replicas: [aReplica('r1', await app(() => undefined))] }
    const { port, leader } = await edgeOf(busy, limit)
    crowd(port, 101, get)
    await eventually(() => leader.last('demand')?.queued === 100)
    expect(verdict(await ask({ port }))).toEqual({ status: 429, code: 'overloaded', retryAfter: '1' })
  })

  test('waiting for too long is 429 when every replica is busy and no more may come', async () => {
    const replicas = [aReplica('r1', await app(() => undefined))]
    const { port, leader } = await edgeOf({
      atMaxScale: true,
      concurrency: 1,
      queueDeadlineMs: 200,
      replicas,
    })
    crowd(port, 1, get)
    await eventually(() => leader.last('report')?.revisions.some(({ inFlight }) => inFlight === 1))
    expect(verdict(await ask({ port }))).toEqual({ status: 429, code: 'overloaded', retryAfter: '1' })
  })
})

describe('a replica does not do its part', () => {
  test('a large body cannot be sent again: the connection that dies is 502 at the first attempt', async () => {
    let attempts = 0
    const port = await app((request) => {
      attempts += 1
      request.on('data', () => undefined).once('end', () => request.socket.destroy())
    })
    const edge = await edgeOf({ replicas: [aReplica('r1', port)] })
    const body = Buffer.alloc(64 * 1024 + 1)
    expect(verdict(await ask({ port: edge.port, method: 'PUT', body }))).toMatchObject({
      status: 502,
      code: 'bad-gateway',
    })
    expect(attempts).toBe(1)
    expect((await ask({ port: edge.port, method: 'PUT', body: body.subarray(1) })).status).toBe(502)
    expect(attempts).toBe(3)
  })

  test('no answer by the request timeout is 504, also while the client still sends', async () => {
    const replicas = [aReplica('r1', await app((request) => request.resume()))]
    const { port } = await edgeOf({ timeoutMs: 300, replicas })
    expect(verdict(await ask({ port }))).toMatchObject({ status: 504, code: 'request-timeout' })
    const half = 'POST / HTTP/1.1\r\nHost: hello.localhost\r\nContent-Length: 100\r\n\r\nhalf'
    expect(await sendRaw(port, half)).toMatch(/^HTTP\/1.1 504 [^]*\r\nConnection: close\r\n/)
  })

  test('a client that is told to go on and never sends its body is 504', async () => {
    const replicas = [aReplica('r1', await app((request) => request.resume()))]
    const { port } = await edgeOf({ timeoutMs: 300, replicas })
    const half =
      'POST / HTTP/1.1\r\nHost: hello.localhost\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n'
    expect(await sendRaw(port, half)).toMatch(
      /^HTTP\/1.1 100 Continue\r\n\r\nHTTP\/1.1 504 [^]*\r\nConnection: close/,
    )
  })

  test('an answer that takes longer than the request timeout breaks off, and is no clean end', async () => {
    const replicas = [aReplica('r1', await app((_request, response) => response.write('begun')))]
    const { port } = await edgeOf({ timeoutMs: 300, replicas })
    await expect(ask({ port })).rejects.toThrow(/aborted|reset/i)
  })
})
