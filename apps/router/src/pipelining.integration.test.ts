import type { ServerResponse } from 'node:http'
import { connect, type Socket } from 'node:net'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { ask, eventually, startApp, startEdge, type App, type Edge } from './testing/edge.ts'
import { aHost, aReplica, aRevision } from './testing/routes.ts'

/** What the app was asked and has not answered yet. */
let open: { path: string; response: ServerResponse }[]
let apps: App[]
let edge: Edge

beforeEach(async () => {
  open = []
  const mine = await startApp((request, response) => open.push({ path: String(request.url), response }))
  const others = await startApp((request, response) => response.end(`others ${request.url}`))
  apps = [mine, others]
  edge = await startEdge({
    hosts: [
      aHost(),
      aHost({ host: 'others.localhost', service: 'others', targets: [{ revision: 'rev-2', percent: 100 }] }),
    ],
    revisions: [
      aRevision({ concurrency: 0, replicas: [aReplica('r1', mine.port)] }),
      aRevision({ uid: 'rev-2', service: 'others', replicas: [aReplica('r2', others.port)] }),
    ],
  })
})
afterEach(async () => {
  await edge.close()
  await Promise.all(apps.map((app) => app.close()))
})

const get = (path: string, host = 'hello.localhost', more = '') =>
  `GET ${path} HTTP/1.1\r\nHost: ${host}\r\n${more}\r\n`

function client(bytes: string): { socket: Socket; received: () => string; closed: Promise<unknown> } {
  const socket = connect(edge.port, '127.0.0.1')
  let text = ''
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1')
  })
  socket.on('error', () => undefined)
  socket.write(bytes)
  const closed = new Promise((resolve) => {
    socket.once('close', resolve)
  })
  return { socket, received: () => text, closed }
}

/** The status lines and bodies that came, in their order. */
function answersIn(text: string): string[] {
  return text
    .split('HTTP/1.1 ')
    .slice(1)
    .map((answer) => `${answer.slice(0, 3)} ${answer.split('\r\n\r\n')[1]}`)
}

test('100 requests of two services on one connection are answered in their order, each by its own', async () => {
  const paths = Array.from({ length: 100 }, (_, i) => `/${i}`)
  const { socket, received } = client(
    paths.map((path, i) => get(path, i % 3 === 0 ? 'others.localhost' : 'hello.localhost')).join(''),
  )
  // An app has one at a time of a connection; the others wait in the router.
  let answered = 0
  while (answered < 66) {
    const [asked] = await eventually(() => open.length === answered + 1 && open.slice(answered))
    answered += 1
    asked?.response.end(`mine ${asked.path}`)
  }
  await eventually(() => answersIn(received()).length === 100)
  expect(answersIn(received())).toEqual(
    paths.map((path, i) => `200 ${i % 3 === 0 ? 'others' : 'mine'} ${path}`),
  )
  socket.destroy()
})

test('2,000 requests that are refused, in one piece, are answered one by one', async () => {
  const { received, closed } = client(
    get('/', 'nobody.localhost').repeat(2000) + get('/', 'nobody.localhost', 'Connection: close\r\n'),
  )
  await closed
  expect(answersIn(received()).filter((answer) => answer.startsWith('404 '))).toHaveLength(2001)
})

test.each([
  ['junk', 'NOT HTTP\r\n\r\n'],
  ['a header that is too large', get('/', 'hello.localhost', `A: ${'a'.repeat(20_000)}\r\n`)],
])('%s behind a request does not get into its answer, which is the last', async (_what, junk) => {
  const { received, closed } = client(get('/asked') + junk)
  const [asked] = await eventually(() => open.length === 1 && open)
  asked?.response.end('whole')
  await closed
  expect(answersIn(received())).toEqual(['200 whole'])
  expect(received()).toMatch(/\r\nconnection: close\r\n/i)
})

test('junk in the middle of an answer does not get into it', async () => {
  const { socket, received, closed } = client(get('/asked'))
  const [asked] = await eventually(() => open.length === 1 && open)
  asked?.response.writeHead(200, { 'content-length': 8 }).write('half')
  await eventually(() => received().endsWith('half'))
  socket.write('NOT HTTP\r\n\r\n')
  socket.write('NOT HTTP EITHER\r\n\r\n')
  // Long enough for the junk to arrive.
  await ask({ port: edge.port, host: 'others.localhost' })
  asked?.response.end('half')
  await closed
  expect(answersIn(received())).toEqual(['200 halfhalf'])
})

test('an expectation that nobody can meet is refused when its turn comes', async () => {
  const wish = get('/wish', 'hello.localhost', 'Expect: foo\r\nContent-Length: 1\r\n')
  const { received, closed } = client(`${get('/asked')}${wish}a`)
  const [asked] = await eventually(() => open.length === 1 && open)
  expect(received()).toBe('')
  asked?.response.end('first')
  await closed
  const [first, second] = answersIn(received())
  expect(first).toBe('200 first')
  expect(second).toMatch(/^417 .*expectation-failed/)
  expect(open).toHaveLength(1)
})

test('a malformed body is refused when its turn comes', async () => {
  const broken = `POST /broken HTTP/1.1\r\nHost: hello.localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n-1\r\n`
  const { received, closed } = client(get('/asked') + broken)
  const [asked] = await eventually(() => open.length > 0 && open)
  asked?.response.end('first')
  await closed
  const [first, second] = answersIn(received())
  expect(first).toBe('200 first')
  expect(second).toMatch(/^400 .*malformed-request/)
})

test('CONNECT behind requests is refused when its turn comes', async () => {
  const { received, closed } = client(
    get('/asked') + get('/also', 'others.localhost') + 'CONNECT a.localhost:80 HTTP/1.1\r\nHost: a\r\n\r\n',
  )
  const [asked] = await eventually(() => open.length === 1 && open)
  asked?.response.end('first')
  await closed
  const [first, second, third] = answersIn(received())
  expect([first, second]).toEqual(['200 first', '200 others /also'])
  expect(third).toMatch(/^405 .*method-not-allowed/)
})
