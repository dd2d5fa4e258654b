import { createServer, type Server } from 'node:net'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { ask, sendRaw, startEdge, type Edge } from './testing/edge.ts'
import { aReplica, aRevision } from './testing/routes.ts'

/** A replica that answers every request with the same bytes and closes. */
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
  ['two framings', `${ok}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nok`],
  ['two lengths', `${ok}Content-Length: 2\r\nContent-Length: 3\r\n\r\nok`],
  ['a NUL in a value', `${ok}A: b\0c\r\nContent-Length: 2\r\n\r\nok`],
  ['status 99', 'HTTP/1.1 99 No\r\nContent-Length: 2\r\n\r\nok'],
  ['status 1000', 'HTTP/1.1 1000 No\r\nContent-Length: 2\r\n\r\nok'],
  [
    '101 that nobody asked for',
    'HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n',
  ],
  ['a flood of 1xx', `${'HTTP/1.1 102 Processing\r\n\r\n'.repeat(1000)}${ok}Content-Length: 2\r\n\r\nok`],
  ['a header of 64 KiB', `${ok}A: ${'a'.repeat(65_536)}\r\nContent-Length: 2\r\n\r\nok`],
  ['a header over two lines', `${ok}A: b\r\n c\r\nContent-Length: 2\r\n\r\nok`],
  ['103 and nothing more', 'HTTP/1.1 103 Early Hints\r\n\r\n'],
  ['three bytes', 'HTT'],
  ['half a head', `${ok}Content-Le`],
  ['no HTTP at all', 'SSH-2.0-OpenSSH_9.2\r\n'],
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

test('what follows the end of an answer goes nowhere', async () => {
  answer = `${ok}Content-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil`
  const got = await sendRaw(edge.port, 'GET / HTTP/1.1\r\nHost: hello.localhost\r\nConnection: close\r\n\r\n')
  expect(got).not.toContain('evil')
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
