import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import { ask, eventually, startApp, startEdge, type App, type Edge } from './testing/edge.ts'
import { aHost, aReplica, aRevision } from './testing/routes.ts'

let edge: Edge
let lost: App
let other: App
/** What the replica on the lost node was asked, and has not answered. */
let asked: ServerResponse[]
/** Nothing here may end by the time that a request may take. */
const revision = aRevision({ timeoutMs: 600_000 })

beforeEach(async () => {
  asked = []
  lost = await startApp((request, response) => {
    asked.push(response)
    if (request.url === '/stream') response.write('the beginning')
  })
  other = await startApp((_request, response) => response.end('other'))
  edge = await startEdge({ revisions: [{ ...revision, replicas: [aReplica('r1', lost.port)] }] })
})
afterEach(async () => {
  await edge.close()
  await lost.close()
  await other.close()
})

/** Takes no new connection any more; what is open stays open and silent, as on a machine that is gone. */
const vanish = () => void lost.server.close()

function loseNode(): void {
  edge.change({ ...revision, replicas: [aReplica('r2', other.port)], lost: ['r1'] })
}

async function sent<Value>(asking: Promise<Value>): Promise<{ answer: Promise<Value> }> {
  await eventually(() => asked.length > 0)
  return { answer: asking }
}

describe('a request that was sent to a node which is down', () => {
  test('is tried elsewhere when it may be', async () => {
    const { answer } = await sent(ask({ port: edge.port }))
    vanish()
    loseNode()
    expect(await answer).toMatchObject({ status: 200, body: 'other' })
  })

  test('is answered 502 when it may not be tried again', async () => {
    const { answer } = await sent(ask({ port: edge.port, method: 'POST', body: 'order' }))
    vanish()
    loseNode()
    expect(await answer).toMatchObject({ status: 502 })
    expect(JSON.parse((await answer).body)).toMatchObject({ code: 'bad-gateway' })
  })

  test('waits for a replica where none is left', async () => {
    const { answer } = await sent(ask({ port: edge.port }))
    vanish()
    edge.change({ ...revision, replicas: [], lost: ['r1'] })
    await eventually(() => edge.leader.last('demand')?.queued === 1)
    loseNode()
    expect(await answer).toMatchObject({ status: 200, body: 'other' })
  })

  test('breaks off in the middle of its answer', async () => {
    const { answer } = await sent(ask({ port: edge.port, path: '/stream' }))
    const broken = expect(answer).rejects.toThrow(/aborted|hang up|reset/i)
    vanish()
    loseNode()
    await broken
    await eventually(() => edge.leader.last('acknowledge')?.lingering.length === 0)
  })

  test('is broken off although no traffic leads to its revision any more', async () => {
    const next = aRevision({ uid: 'rev-2', name: 'hello-00002', replicas: [aReplica('r2', other.port)] })
    const { answer } = await sent(ask({ port: edge.port, method: 'POST', body: 'order' }))
    vanish()
    edge.publish({
      hosts: [aHost({ targets: [{ revision: 'rev-2', percent: 100 }] })],
      revisions: [{ ...revision, lost: ['r1'] }, next],
    })
    expect(await answer).toMatchObject({ status: 502 })
  })

  test('ends as usual where somebody still accepts connections: only the engine hangs', async () => {
    const { answer } = await sent(ask({ port: edge.port, method: 'POST', body: 'order' }))
    const looks = once(lost.server, 'connection')
    loseNode()
    await looks
    asked[0]?.end('done')
    expect(await answer).toMatchObject({ status: 200, body: 'done' })
  })
})

test('a WebSocket to a node which is down is closed', async () => {
  const sockets = new WebSocketServer({ server: lost.server })
  const client = new WebSocket(`ws://127.0.0.1:${edge.port}`, { headers: { host: 'hello.localhost' } })
  await once(client, 'open')
  vanish()
  loseNode()
  await once(client, 'close')
  sockets.close()
  expect(client.readyState).toBe(WebSocket.CLOSED)
})
