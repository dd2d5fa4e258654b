import type { ServerResponse } from 'node:http'
import { connect } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { ask, eventually, startApp, startEdge, type App, type Edge } from './testing/edge.ts'
import { aReplica, aRevision } from './testing/routes.ts'
import { seeded } from './testing/seeded.ts'

/*
 * Either side gives up a thousand times, each time at another point; afterwards nothing is held any more.
 */

const concurrency = 8
/** Two thousand connections on a machine that has other things to do. */
const limitMs = 180_000
const piece = 'a piece of the answer\n'
const pieces = 8

let edge: Edge
let app: App

afterEach(async () => {
  await edge.close()
  await app.close()
})

/** A router before an app that answers in pieces; `before` each piece something may happen. */
async function serving(before: (response: ServerResponse, index: number) => void): Promise<void> {
  app = await startApp((request, response) => {
    request.resume()
    let index = 0
    const next = () => {
      if (response.destroyed) return
      before(response, index)
      index += 1
      if (index > pieces) response.end()
      else response.write(piece, () => setImmediate(next))
    }
    next()
  })
  edge = await startEdge({
    revisions: [aRevision({ concurrency, replicas: [aReplica('r1', app.port)] })],
  })
}

async function inLanes(count: number, once: () => Promise<unknown>): Promise<void> {
  let left = count
  const lane = async () => {
    for (; left > 0; left -= 1) await once()
  }
  await Promise.all(Array.from({ length: 2 * concurrency }, lane))
}

const connectionsOfApp = () =>
  new Promise<number>((resolve, reject) => {
    app.server.getConnections((error, count) => (error ? reject(error) : resolve(count)))
  })

/** As many requests as there are slots are in the app at once, and no connection is beyond them. */
async function nothingIsHeld(): Promise<void> {
  const inApp = new Set<ServerResponse>()
  app.server.removeAllListeners('request')
  app.server.on('request', (_request, response: ServerResponse) => inApp.add(response))
  const asked = Array.from({ length: concurrency }, () => ask({ port: edge.port }))
  // Some of those that were given up may still arrive.
  const open = () => [...inApp].filter(({ destroyed }) => !destroyed)
  await eventually(async () => open().length === concurrency && (await connectionsOfApp()) === concurrency)
  for (const response of open()) response.end('well')
  expect((await Promise.all(asked)).every(({ body }) => body === 'well')).toBe(true)
  expect(edge.leader.last('replica-failed')).toBeUndefined()
  // Idle ones go by themselves, and nothing else is left.
  await eventually(async () => (await connectionsOfApp()) === 0)
}

test(
  'a thousand clients that leave at random points hold nothing',
  async () => {
    const random = seeded(1)
    await serving(() => undefined)
    await inLanes(1000, async () => {
      const socket = connect(edge.port, '127.0.0.1')
      const closed = new Promise((resolve) => {
        socket.once('close', resolve)
      })
      const enough = random() * 1.2 * pieces * piece.length
      socket.on('error', () => undefined)
      socket.on('data', () => {
        if (socket.bytesRead >= enough) socket.resetAndDestroy()
      })
      const length = random() < 0.5 ? 0 : 10
      socket.write(`POST / HTTP/1.1\r\nHost: hello.localhost\r\nContent-Length: ${length}\r\n\r\n`)
      socket.write('half ')
      if (random() < 0.2) socket.destroy()
      else setTimeout(() => socket.resetAndDestroy(), 20 * random())
      await closed
    })
    await nothingIsHeld()
  },
  limitMs,
)

test(
  'a thousand answers that break off at random points hold nothing',
  async () => {
    const random = seeded(2)
    let breaks = 1000
    await serving((response, index) => {
      // Behind the head: an app that dies before it would be left alone for a while.
      if (breaks === 0 || index === 0 || random() < 0.7) return
      breaks -= 1
      response.socket?.resetAndDestroy()
    })
    await inLanes(1400, () => ask({ port: edge.port }).catch(() => undefined))
    expect(breaks).toBe(0)
    await nothingIsHeld()
  },
  limitMs,
)
