import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import { eventually, startApp, startEdge, type App, type Edge } from './testing/edge.ts'
import { aHost, aReplica, aRevision } from './testing/routes.ts'

let edge: Edge
let app: App
let replicas: WebSocketServer
const closings: number[] = []
const revision = aRevision()
const serving = () => ({ ...revision, replicas: [aReplica('r1', app.port)] })

beforeEach(async () => {
  closings.splice(0)
  replicas = new WebSocketServer({ noServer: true })
  app = await startApp((_request, response) => response.end())
  app.server.on('upgrade', (request, socket, head) =>
    replicas.handleUpgrade(request, socket, head, (peer) => {
      peer.on('message', (data) => peer.send(data))
      peer.on('close', (code) => closings.push(code))
    }),
  )
  edge = await startEdge({ revisions: [serving()] })
})
afterEach(async () => {
  await edge.close()
  await app.close()
})

function dial(): WebSocket {
  return new WebSocket(`ws://127.0.0.1:${edge.port}`, { headers: { host: 'hello.localhost' } })
}

async function open(): Promise<WebSocket> {
  const client = dial()
  await once(client, 'open')
  return client
}

async function echo(client: WebSocket, text: string): Promise<string> {
  client.send(text)
  const [data] = (await once(client, 'message')) as [Buffer]
  return data.toString()
}

const lingering = () => edge.leader.last('acknowledge')?.lingering

test('a WebSocket of a replica that only steps down lives on and counts as in flight', async () => {
  const client = await open()
  edge.change({ ...revision, replicas: [] })
  await eventually(() => lingering()?.includes('r1'))
  expect(await echo(client, 'still there')).toBe('still there')
  await eventually(() => edge.leader.last('report')?.revisions[0]?.inFlight === 1)
  client.terminate()
  await eventually(() => lingering()?.length === 0)
})

test('a WebSocket of a retired replica is closed with 1001 at both ends, and the router lingers no longer', async () => {
  const client = await open()
  expect(await echo(client, 'hello')).toBe('hello')
  edge.change({ ...revision, replicas: [], leaving: ['r1'] })
  const [code] = (await once(client, 'close')) as [number]
  expect(code).toBe(1001)
  await eventually(() => closings.length === 1 && lingering()?.length === 0)
  expect(closings).toEqual([1001])
})

test('a WebSocket of a revision without traffic is closed with 1001 while the next revision serves', async () => {
  const client = await open()
  edge.publish({
    hosts: [aHost({ targets: [{ revision: 'rev-2', percent: 100 }] })],
    revisions: [
      { ...revision, leaving: ['r1'] },
      aRevision({ uid: 'rev-2', replicas: [aReplica('r2', app.port)] }),
    ],
  })
  const [code] = (await once(client, 'close')) as [number]
  expect(code).toBe(1001)
  expect(await echo(await open(), 'hello')).toBe('hello')
  await eventually(() => lingering()?.length === 0)
})

test('a WebSocket whose revision had left the table is closed once its replica is retired', async () => {
  const client = await open()
  edge.publish({ hosts: [], revisions: [] })
  await eventually(() => lingering()?.includes('r1'))
  expect(await echo(client, 'hello')).toBe('hello')
  edge.publish({ hosts: [], revisions: [{ ...revision, leaving: ['r1'] }] })
  const [code] = (await once(client, 'close')) as [number]
  expect(code).toBe(1001)
})

test('nobody waits for a revision that is in the table for the sake of what leaves', async () => {
  const busy = { ...serving(), concurrency: 1 }
  const { version } = edge.change(busy)
  await eventually(() => edge.leader.last('acknowledge')?.version.sequence === version.sequence)
  const client = await open()
  const second = dial()
  const answered = once(second, 'unexpected-response') as Promise<[unknown, IncomingMessage]>
  await eventually(() => edge.leader.last('demand')?.queued === 1)
  edge.publish({ hosts: [], revisions: [{ ...busy, replicas: [], leaving: ['r1'] }] })
  const [, answer] = await answered
  expect(answer.statusCode).toBe(503)
  const [code] = (await once(client, 'close')) as [number]
  expect(code).toBe(1001)
})

test('a message that is under way arrives whole before the end', async () => {
  const client = await open()
  const [peer] = replicas.clients
  const messages: number[] = []
  client.on('message', (data: Buffer) => messages.push(data.length))
  client.pause()
  peer?.send(Buffer.alloc(16 * 1024 * 1024))
  const { version } = edge.change({ ...revision, replicas: [], leaving: ['r1'] })
  await eventually(() => edge.leader.last('acknowledge')?.version.sequence === version.sequence)
  client.resume()
  const [code] = (await once(client, 'close')) as [number]
  expect([...messages, code]).toEqual([16 * 1024 * 1024, 1001])
})
