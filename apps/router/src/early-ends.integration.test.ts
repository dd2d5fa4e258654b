import { createServer, type Server } from 'node:net'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { ask, startEdge, type Edge } from './testing/edge.ts'
import { aReplica, aRevision } from './testing/routes.ts'

/** A replica that answers every request with the same bytes and closes: it stops before its time. */
let origin: Server
let answer = ''
let ending: 'close' | 'reset' = 'close'
let attempts = 0
let edge: Edge

beforeAll(async () => {
  origin = createServer((socket) => {
    socket.on('error', () => undefined)
    socket.once('data', () => {
      attempts += 1
      const bytes = Buffer.from(answer, 'latin1')
      if (ending === 'close') return socket.end(bytes)
      socket.write(bytes)
      return setTimeout(() => socket.resetAndDestroy(), 100)
    })
  })
  await new Promise<void>((resolve) => {
    origin.listen(0, '127.0.0.1', resolve)
  })
})
afterAll(async () => {
  await new Promise((resolve) => {
    origin.close(resolve)
  })
})
// A router per test: a replica that failed is out for longer each time.
beforeEach(async () => {
  attempts = 0
  ending = 'close'
  const address = origin.address()
  const port = address !== null && typeof address === 'object' ? address.port : 0
  edge = await startEdge({ revisions: [aRevision({ replicas: [aReplica('r1', port)] })] })
})
afterEach(() => edge.close())

const ok = 'HTTP/1.1 200 OK\r\n'

const noAnswers: [string, string][] = [
  ['103 and nothing more', 'HTTP/1.1 103 Early Hints\r\n\r\n'],
  ['three bytes', 'HTT'],
  ['half a head', `${ok}Content-Le`],
]

test.each(noAnswers)(
  'a replica that answers with %s gives 502 and is not asked again',
  async (_what, bytes) => {
    answer = bytes
    expect((await ask({ port: edge.port })).status).toBe(502)
    expect(attempts).toBe(1)
  },
)

test('a replica that closes without a byte is asked once more when the method allows it', async () => {
  answer = ''
  expect((await ask({ port: edge.port })).status).toBe(502)
  expect(attempts).toBe(2)
  expect((await ask({ port: edge.port, method: 'POST' })).status).toBe(502)
  expect(attempts).toBe(3)
})

test.each([
  ['a length', `${ok}Content-Length: 100\r\n\r\nhalf`],
  ['chunks', `${ok}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n`],
])('an answer with %s that ends early is never complete for the client', async (_what, bytes) => {
  answer = bytes
  await expect(ask({ port: edge.port })).rejects.toThrow(/aborted|reset/i)
})

test('an answer without a length is complete when the replica closes, and broken when it resets', async () => {
  answer = `${ok}\r\nhello`
  expect(await ask({ port: edge.port })).toMatchObject({ status: 200, body: 'hello' })
  ending = 'reset'
  await expect(ask({ port: edge.port })).rejects.toThrow(/aborted|reset/i)
})
