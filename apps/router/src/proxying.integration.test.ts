import { once } from 'node:events'
import type { RequestListener } from 'node:http'
import { connect } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import type { RevisionRoute } from '@berth/contracts'
import { ask, eventually, sendRaw, startApp, startEdge, type App, type Edge } from './testing/edge.ts'
import { aHost, aReplica, aRevision } from './testing/routes.ts'

let edge: Edge | undefined
const apps: App[] = []

afterEach(async () => {
  await edge?.close()
  edge = undefined
  await Promise.all(apps.splice(0).map((app) => app.close()))
})

async function app(listener: RequestListener): Promise<App> {
  const started = await startApp(listener)
  apps.push(started)
  return started
}

/** A router whose only service is answered by `listener`. */
async function serving(listener: RequestListener, changes: Partial<RevisionRoute> = {}): Promise<Edge> {
  const { port } = await app(listener)
  edge = await startEdge({ revisions: [aRevision({ replicas: [aReplica('r1', port)], ...changes })] })
  return edge
}

const upgradeWish =
  'GET / HTTP/1.1\r\nHost: hello.localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n'

describe('a request reaches the app of its host', () => {
  test('method, path, body and status go through as they are', async () => {
    const { port } = await serving((request, response) => {
      const chunks: Buffer[] = []
      request.on('data', (chunk: Buffer) => chunks.push(chunk))
      request.on('end', () => {
        response.writeHead(201, 'Made', { 'x-app': 'yes', 'set-cookie': ['a=1', 'b=2'] })
        response.end(`${request.method} ${request.url} ${Buffer.concat(chunks).toString()}`)
      })
    })
    const answer = await ask({ port, method: 'POST', path: '/a//b/../c?x=%00&y', body: 'hello' })
    expect(answer).toMatchObject({ status: 201, body: 'POST /a//b/../c?x=%00&y hello' })
    expect(answer.headers['set-cookie']).toEqual(['a=1', 'b=2'])
  })

  test('the platform says who asked, whatever the client claims', async () => {
    const { port } = await serving((request, response) => response.end(JSON.stringify(request.headers)))
    const { body } = await ask({
      port,
      host: 'Hello.Localhost.:8080',
      headers: {
        'x-forwarded-for': '1.2.3.4',
        'x-forwarded-host': 'evil',
        forwarded: 'for=1.2.3.4',
        x_forwarded_proto: 'https',
        connection: 'close, x-forwarded-for, x-hop',
        'x-hop': 'gone',
        te: 'gzip',
      },
    })
    const seen = JSON.parse(body) as Record<string, string>
    expect(seen).toMatchObject({
      host: 'Hello.Localhost.:8080',
      'x-forwarded-for': '127.0.0.1',
      'x-forwarded-proto': 'http',
      'x-forwarded-host': 'Hello.Localhost.:8080',
      forwarded: 'for=127.0.0.1;host="Hello.Localhost.:8080";proto=http',
    })
    expect(seen['traceparent']).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/)
    expect(seen['x-request-id']).toMatch(/^[0-9a-f]{24}$/)
    expect(Object.keys(seen)).not.toEqual(expect.arrayContaining(['x-hop']))
    expect(seen['te'] ?? seen['x_forwarded_proto']).toBeUndefined()
  })

  test('a large upload and download stream through unchanged', async () => {
    const { port } = await serving((request, response) => {
      response.writeHead(200)
      request.pipe(response)
    })
    const body = Buffer.alloc(8 * 1024 * 1024, 'berth-')
    const answer = await ask({ port, method: 'POST', body, headers: { 'content-length': body.length } })
    expect(answer.body === body.toString()).toBe(true)
    const chunked = await ask({ port, method: 'PUT', body, headers: { 'transfer-encoding': 'chunked' } })
    expect(chunked.body === body.toString()).toBe(true)
  })

  test('an event arrives while the answer is still open', async () => {
    const { port } = await serving((_request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.flushHeaders()
      setTimeout(() => response.write('data: one\n\n'), 50)
    })
    const socket = connect(port, '127.0.0.1')
    socket.write('GET / HTTP/1.1\r\nHost: hello.localhost\r\n\r\n')
    let received = ''
    socket.on('data', (chunk) => {
      received += chunk.toString()
    })
    await eventually(() => received.includes('data: one'))
    socket.destroy()
  })

  test('a first event that comes with the head is not held back', async () => {
    const { port } = await serving((request) => {
      request.socket.write('HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: one\n\n')
    })
    const socket = connect(port, '127.0.0.1')
    let received = ''
    socket.on('data', (chunk) => {
      received += chunk.toString()
    })
    socket.write('GET / HTTP/1.1\r\nHost: hello.localhost\r\n\r\n')
    await eventually(() => received.includes('data: one'))
    socket.destroy()
  })

  test('what follows a body in chunks reaches a client that can have it', async () => {
    const { port } = await serving((_request, response) => {
      response.writeHead(200, { trailer: 'sum' })
      response.write('hello')
      response.addTrailers({ sum: '1', 'set-cookie': 'a=1' })
      response.end()
    })
    const get = (version: string) =>
      sendRaw(port, `GET / HTTP/${version}\r\nHost: hello.localhost\r\nConnection: close\r\n\r\n`)
    expect(await get('1.1')).toMatch(/\r\n\r\n5\r\nhello\r\n0\r\nsum: 1\r\n\r\n$/)
    expect(await get('1.0')).toMatch(/\r\n\r\nhello$/)
  })

  test('an unknown host is 404 problem+json, also through a wildcard that is not there', async () => {
    const { port } = await serving((_request, response) => response.end())
    for (const host of ['nobody.localhost', 'a.hello.localhost', 'hello.localhost.evil', '127.0.0.1:80']) {
      const answer = await ask({ port, host })
      expect(answer.status).toBe(404)
      expect(answer.headers['content-type']).toBe('application/problem+json')
      expect(JSON.parse(answer.body)).toMatchObject({ code: 'unknown-host', status: 404 })
    }
  })

  test('an app that refuses a body unread is heard, and both connections end', async () => {
    let ended = false
    const { port } = await serving((request, response) => {
      request.socket.once('close', () => {
        ended = true
      })
      response.writeHead(413, { 'content-length': 9 }).end('too large')
    })
    const socket = connect(port, '127.0.0.1')
    let received = ''
    socket.on('data', (chunk) => {
      received += String(chunk)
    })
    socket.on('error', () => undefined)
    socket.write('POST / HTTP/1.1\r\nHost: hello.localhost\r\nContent-Length: 1000000\r\n\r\nsome of it')
    await eventually(() => socket.destroyed && ended)
    expect(received).toMatch(/^HTTP\/1.1 413 [^]*connection: close\r\n[^]*too large$/i)
  })

  test('an app that answers before it has the body is heard, and what follows the body is a request again', async () => {
    const { port } = await serving((request, response) => {
      response.end(request.url)
      request.resume()
    })
    const socket = connect(port, '127.0.0.1')
    let received = ''
    socket.on('data', (chunk) => {
      received += String(chunk)
    })
    socket.write('POST /early HTTP/1.1\r\nHost: hello.localhost\r\nContent-Length: 9\r\n\r\nGET ')
    await eventually(() => received.endsWith('/early'))
    socket.write('/evilGET /next HTTP/1.1\r\nHost: hello.localhost\r\nConnection: close\r\n\r\n')
    await once(socket, 'close')
    expect(received).toMatch(/\/early(HTTP\/1.1 200 OK[^]*\/next)?$/)
  })

  test('100 Continue is sent when a replica wants the body', async () => {
    const { port } = await serving((request, response) => {
      request.resume()
      request.on('end', () => response.end('got it'))
    })
    const socket = connect(port, '127.0.0.1')
    socket.write(
      'POST / HTTP/1.1\r\nHost: hello.localhost\r\nExpect: 100-continue\r\nContent-Length: 2\r\nConnection: close\r\n\r\n',
    )
    let received = ''
    socket.on('data', (chunk) => {
      received += chunk.toString()
    })
    await eventually(() => received.startsWith('HTTP/1.1 100 Continue'))
    socket.write('ab')
    await once(socket, 'close')
    expect(received).toContain('got it')
  })

  test('a WebSocket echoes both ways and counts as in flight', async () => {
    const sockets = new WebSocketServer({ noServer: true })
    const running = await serving((_request, response) => response.writeHead(404).end())
    apps[0]?.server.on('upgrade', (request, socket, head) =>
      sockets.handleUpgrade(request, socket, head, (peer) => peer.on('message', (data) => peer.send(data))),
    )
    const client = new WebSocket(`ws://127.0.0.1:${running.port}/chat`, {
      headers: { host: 'hello.localhost' },
    })
    await once(client, 'open')
    client.send('ahoy')
    const [data] = (await once(client, 'message')) as [Buffer]
    expect(data.toString()).toBe('ahoy')
    const busy = await eventually(() =>
      running.leader.last('report')?.revisions.find((revision) => revision.inFlight === 1),
    )
    expect(busy.replicas).toMatchObject([{ id: 'r1', inFlight: 1, idleMs: 0 }])
    client.close()
    await eventually(() => running.leader.last('report')?.revisions.every(({ inFlight }) => inFlight === 0))
  })

  test('what a client sends while its WebSocket waits for a replica arrives whole and once', async () => {
    // More than the router keeps, so that the client has to wait in between.
    const ahead = Array.from({ length: 40_000 }, (_, i) => `frame ${i},`).join('')
    let received = ''
    const { port } = await app((_request, response) => response.end())
    apps[0]?.server.on('upgrade', (_request, socket, head) => {
      socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n')
      received += head.toString()
      socket.on('data', (chunk) => {
        received += String(chunk)
      })
      socket.on('end', () => socket.end('heard it all'))
    })
    const waiting = (edge = await startEdge())
    const socket = connect(waiting.port, '127.0.0.1')
    socket.write(`${upgradeWish}first,`)
    await eventually(() => waiting.leader.last('demand')?.queued === 1)
    socket.write(ahead)
    waiting.change(aRevision({ replicas: [aReplica('r1', port)] }))
    await once(socket, 'data')
    socket.end('last')
    const [goodbye] = (await once(socket, 'data')) as [Buffer]
    expect(goodbye.toString()).toBe('heard it all')
    expect(received === `first,${ahead}last`).toBe(true)
  })

  test('a client that leaves while its WebSocket waits is forgotten', async () => {
    const { port, leader } = (edge = await startEdge())
    const socket = connect(port, '127.0.0.1')
    socket.write(upgradeWish)
    await eventually(() => leader.last('demand')?.queued === 1)
    socket.destroy()
    await eventually(() => leader.last('report')?.revisions[0]?.queued === 0)
  })

  test('an upgrade that the app refuses stays HTTP', async () => {
    const { port } = await serving((_request, response) => response.end())
    apps[0]?.server.on('upgrade', (_request, socket) =>
      socket.end('HTTP/1.1 426 Upgrade Required\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno'),
    )
    const answer = await sendRaw(port, upgradeWish)
    expect(answer).toMatch(/^HTTP\/1.1 426 Upgrade Required\r\n[^]*no$/)
  })

  test('an upgrade that is answered with a large page arrives whole', async () => {
    const page = Buffer.alloc(4 * 1024 * 1024, 'page-')
    const { port } = await serving((_request, response) => response.end())
    apps[0]?.server.on('upgrade', (_request, socket) => {
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${page.length}\r\nConnection: close\r\n\r\n`)
      socket.end(page)
    })
    const answer = await sendRaw(port, upgradeWish)
    expect(answer.split('\r\n\r\n', 2)[1] === page.toString()).toBe(true)
  })
})

describe('when a replica fails', () => {
  test('a connection that is refused is tried elsewhere, whatever the method, and reported', async () => {
    const good = await app((request, response) => {
      request.resume()
      response.end('elsewhere')
    })
    const bad = await startApp(() => undefined)
    await bad.close()
    edge = await startEdge({
      revisions: [aRevision({ replicas: [aReplica('bad', bad.port), aReplica('good', good.port)] })],
    })
    const answer = await ask({ port: edge.port, method: 'POST', body: 'x' })
    expect(answer).toMatchObject({ status: 200, body: 'elsewhere' })
    await eventually(() => edge?.leader.last('replica-failed')?.replica === 'bad')
  })

  test('an idempotent request is tried once more when the connection dies, another one is 502', async () => {
    const asked: string[] = []
    const { port } = await serving((request) => {
      asked.push(String(request.method))
      request.socket.destroy()
    })
    expect((await ask({ port, method: 'POST', body: 'x' })).status).toBe(502)
    expect((await ask({ port, method: 'PUT', body: 'x' })).status).toBe(502)
    expect(asked).toEqual(['POST', 'PUT', 'PUT'])
  })

  test('an answer that breaks off in its middle never ends cleanly', async () => {
    const { port } = await serving((_request, response) => {
      response.write('half of it')
      setImmediate(() => response.socket?.destroy())
    })
    await expect(ask({ port })).rejects.toThrow(/aborted|reset/i)
  })

  test('an app that is too slow is 504', async () => {
    const { port } = await serving(() => undefined, { timeoutMs: 300 })
    const answer = await ask({ port })
    expect(answer.status).toBe(504)
    expect(JSON.parse(answer.body)).toMatchObject({ code: 'request-timeout' })
  })
})

test('a client that takes nothing of its answer is cut off at the request timeout', async () => {
  const { port } = await serving((_request, response) => response.end(Buffer.alloc(16 * 1024)), {
    timeoutMs: 3000,
    concurrency: 0,
  })
  const socket = connect(port, '127.0.0.1').pause()
  const failed = once(socket, 'error')
  // More than the kernel takes on both sides, so that the last answers are complete in the router and stay there.
  socket.write('GET / HTTP/1.1\r\nHost: hello.localhost\r\n\r\n'.repeat(400))
  // A client that does not read hears of the reset when it writes; blank lines are no request.
  const writing = setInterval(() => socket.write('\r\n'), 100)
  const [error] = (await failed) as [NodeJS.ErrnoException]
  clearInterval(writing)
  expect(['ECONNRESET', 'EPIPE']).toContain(error.code)
})

const statusTexts = [
  ['own', 'goes through byte for byte', 'Gemacht \u00e2\u009c\u0093'],
  ['undici', 'is replaced by the usual one, since it was decoded', 'Created'],
] as const

test.each(statusTexts)('with client %s a status text above ASCII %s', async (client, _what, text) => {
  const { port } = await app((request) =>
    request.socket.end('HTTP/1.1 201 Gemacht \u2713\r\nContent-Length: 2\r\n\r\nok'),
  )
  edge = await startEdge(
    { revisions: [aRevision({ replicas: [aReplica('r1', port)] })] },
    { BERTH_ROUTER_CLIENT: client },
  )
  const answer = await sendRaw(
    edge.port,
    'GET / HTTP/1.1\r\nHost: hello.localhost\r\nConnection: close\r\n\r\n',
  )
  expect(answer.split('\r\n', 1)).toEqual([`HTTP/1.1 201 ${text}`])
})

describe('traffic is split by weight', () => {
  test('a revision of 0 percent gets nothing, the others their share', async () => {
    const counts = new Map<string, number>()
    const revision = async (name: string) => {
      const { port } = await app((_request, response) => {
        counts.set(name, (counts.get(name) ?? 0) + 1)
        response.end()
      })
      return aRevision({ uid: name, replicas: [aReplica(`r-${name}`, port)] })
    }
    const revisions = [await revision('a'), await revision('b'), await revision('c')]
    const targets = [
      { revision: 'a', percent: 50 },
      { revision: 'b', percent: 50 },
      { revision: 'c', percent: 0 },
    ]
    edge = await startEdge({ hosts: [aHost({ targets })], revisions })
    for (let i = 0; i < 60; i += 1) await ask({ port: edge.port })
    expect(counts.get('c')).toBeUndefined()
    expect((counts.get('a') ?? 0) + (counts.get('b') ?? 0)).toBe(60)
    // Fewer than 5 of 60 at an even split happens less than once in 10^12 runs.
    expect(Math.min(counts.get('a') ?? 0, counts.get('b') ?? 0)).toBeGreaterThanOrEqual(5)
  })
})
