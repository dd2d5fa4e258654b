import { once } from 'node:events'
import type { RequestListener } from 'node:http'
import type { ClientHttp2Session } from 'node:http2'
import { connect } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import type { RevisionRoute } from '@berth/contracts'
import { ask, eventually, startApp, startEdge, type Edge } from './testing/edge.ts'
import { answerOf, askHttp2, openSession, request } from './testing/http2.ts'
import { aReplica, aRevision } from './testing/routes.ts'

const endings: (() => Promise<unknown> | void)[] = []
const atEnd = (ending: () => Promise<unknown> | void) => endings.push(ending)
afterEach(async () => {
  for (const ending of endings.splice(0).reverse()) await ending()
})

async function serving(
  listener: RequestListener,
  changes: Partial<RevisionRoute> = {},
  env: Record<string, string> = {},
): Promise<{ edge: Edge; session: ClientHttp2Session }> {
  const app = await startApp(listener)
  atEnd(() => app.close())
  const revisions = [aRevision({ replicas: [aReplica('r1', app.port)], ...changes })]
  const edge = await startEdge({ revisions }, env)
  atEnd(() => edge.close())
  const session = await openSession(`http://127.0.0.1:${edge.port}`)
  atEnd(() => session.destroy())
  return { edge, session }
}

const isIdle = (edge: Edge) =>
  eventually(() => edge.leader.last('report')?.revisions.every(({ inFlight }) => inFlight === 0))
const isBusy = (edge: Edge, requests = 1) =>
  eventually(() => edge.leader.last('report')?.revisions.some(({ inFlight }) => inFlight === requests))

describe('a stream reaches an app of HTTP/1.1', () => {
  test('method, path, body, status and headers go through as they are', async () => {
    const { session } = await serving((incoming, response) => {
      const chunks: Buffer[] = []
      incoming.on('data', (chunk: Buffer) => chunks.push(chunk))
      incoming.on('end', () => {
        response.writeHead(201, 'Made', { 'X-App': 'yes', 'set-cookie': ['a=1', 'b=2'] })
        const { method, url, headers } = incoming
        response.end(JSON.stringify({ method, url, headers, body: Buffer.concat(chunks).toString() }))
      })
    })
    const answer = await askHttp2(
      session,
      { ':path': '/a//b/../c?x=%00&y', cookie: ['a=b', 'c=d'], te: 'trailers', 'X-Mine': 'here' },
      'hello',
    )
    expect(answer.status).toBe(201)
    expect(answer.headers['x-app']).toBe('yes')
    expect(answer.headers['set-cookie']).toEqual(['a=1', 'b=2'])
    expect(answer.headers['connection'] ?? answer.headers['transfer-encoding']).toBeUndefined()
    expect(JSON.parse(answer.body)).toMatchObject({
      method: 'POST',
      url: '/a//b/../c?x=%00&y',
      body: 'hello',
      headers: {
        host: 'hello.localhost',
        cookie: 'a=b; c=d',
        'x-mine': 'here',
        'x-forwarded-for': '127.0.0.1',
        'x-forwarded-proto': 'http',
        'x-forwarded-host': 'hello.localhost',
        'transfer-encoding': 'chunked',
      },
    })
  })

  test('a request without a body has none, and one with a length keeps it', async () => {
    const { session } = await serving((incoming, response) => response.end(JSON.stringify(incoming.headers)))
    const get = JSON.parse((await askHttp2(session)).body) as Record<string, string>
    expect(get['transfer-encoding'] ?? get['content-length']).toBeUndefined()
    const post = JSON.parse((await askHttp2(session, { 'content-length': 5 }, 'hello')).body) as object
    expect(post).toMatchObject({ 'content-length': '5' })
    expect(post).not.toHaveProperty('transfer-encoding')
  })

  test('an answer without a body ends with its head', async () => {
    const { session } = await serving((incoming, response) => {
      response.statusCode = Number(incoming.url?.slice(1))
      if (incoming.method === 'HEAD') response.setHeader('content-length', 7)
      response.end()
    })
    for (const status of [204, 304])
      expect(await askHttp2(session, { ':path': `/${status}` })).toMatchObject({ status, body: '' })
    const head = await answerOf(
      session.request({ ':method': 'HEAD', ':authority': 'hello.localhost', ':path': '/200' }),
    )
    expect(head).toMatchObject({ status: 200, body: '' })
    expect(head.headers['content-length']).toBe('7')
  })

  test('trailers follow the answer', async () => {
    const { session } = await serving((_incoming, response) => {
      response.writeHead(200, { trailer: 'x-sum' })
      response.write('body')
      response.addTrailers({ 'x-sum': 'abc', 'cache-control': 'none' })
      response.end()
    })
    const answer = await askHttp2(session)
    expect(answer).toMatchObject({ body: 'body', trailers: { 'x-sum': 'abc' } })
    expect(answer.trailers['cache-control']).toBeUndefined()
  })

  test('a client that waits to be told sends its body then', async () => {
    const { session } = await serving((incoming, response) => incoming.pipe(response))
    const stream = request(session, { ':method': 'POST', expect: '100-continue' })
    const answer = answerOf(stream)
    stream.once('continue', () => stream.end('told'))
    expect(await answer).toMatchObject({ informational: [100], status: 200, body: 'told' })
  })

  test('streams of one connection are answered side by side, each in its own time', async () => {
    const { session } = await serving((incoming, response) => {
      setTimeout(() => response.end(incoming.url), incoming.url === '/slow' ? 100 : 0)
    })
    const order: string[] = []
    await Promise.all(
      ['/slow', '/quick'].map(async (path) => order.push((await askHttp2(session, { ':path': path })).body)),
    )
    expect(order).toEqual(['/quick', '/slow'])
  })

  test('each stream is one unit of concurrency', async () => {
    let inside = 0
    let most = 0
    const { session } = await serving(
      (_incoming, response) => {
        inside += 1
        most = Math.max(most, inside)
        setTimeout(() => {
          inside -= 1
          response.end('done')
        }, 5)
      },
      { concurrency: 2 },
    )
    const answers = await Promise.all(Array.from({ length: 40 }, () => askHttp2(session)))
    expect(answers.every(({ status }) => status === 200)).toBe(true)
    expect(most).toBe(2)
  })
})

describe('bytes flow as fast as the slower side takes them', () => {
  test('8 MiB both ways at once arrive unchanged', async () => {
    const { session } = await serving((incoming, response) => incoming.pipe(response))
    const body = Buffer.alloc(8 * 1024 * 1024, 'berth-')
    expect((await askHttp2(session, {}, body)).body === body.toString()).toBe(true)
  })

  test('an app that does not read stops its client and no other stream', async () => {
    let got = 0
    const { session } = await serving((incoming, response) => {
      if (incoming.url === '/stuck') incoming.once('data', () => incoming.pause())
      else incoming.on('data', (chunk: Buffer) => (got += chunk.length)).on('end', () => response.end('ok'))
    })
    const body = Buffer.alloc(16 * 1024 * 1024)
    const stuck = Array.from({ length: 3 }, () => request(session, { ':method': 'POST', ':path': '/stuck' }))
    for (const stream of stuck) {
      stream.on('error', () => undefined)
      stream.write(body)
    }
    expect((await askHttp2(session, {}, body)).body).toBe('ok')
    expect(got).toBe(body.length)
    for (const stream of stuck) expect(stream.writableLength).toBeGreaterThan(0)
  })

  test('a client that does not read stops the app', async () => {
    let written = 0
    let full = false
    const { session } = await serving((_incoming, response) => {
      const more = () => {
        while (written < 256 * 1024 * 1024) {
          written += 65_536
          if (!response.write(Buffer.alloc(65_536))) {
            full = true
            return
          }
        }
      }
      response.on('drain', more)
      more()
    })
    const stream = request(session)
    await once(stream, 'response')
    stream.pause()
    await eventually(() => full)
    let before = -1
    await eventually(async () => {
      const stands = before === written
      before = written
      await new Promise((resolve) => {
        setTimeout(resolve, 200)
      })
      return stands
    })
    expect(written).toBeLessThan(64 * 1024 * 1024)
    stream.on('error', () => undefined).close()
  })
})

describe('either side may break off', () => {
  test('a stream that its client resets leaves the app and frees its slot', async () => {
    let left = false
    const { edge, session } = await serving((incoming) => incoming.once('close', () => (left = true)))
    const stream = request(session)
    await isBusy(edge)
    stream.close(8)
    await eventually(() => left)
    await isIdle(edge)
  })

  test('an upload that its client resets never ends as if it were whole', async () => {
    const ends: string[] = []
    const { edge, session } = await serving((incoming) => {
      incoming
        .resume()
        .on('end', () => ends.push('end'))
        .on('error', () => ends.push('broke'))
    })
    const stream = request(session, { ':method': 'POST', 'content-length': 10 })
    stream.write('hello')
    await isBusy(edge)
    stream.close(0)
    await eventually(() => ends.length > 0)
    expect(ends).toEqual(['broke'])
  })

  test('an answer that breaks off resets its stream, and the connection goes on', async () => {
    const { session } = await serving((incoming, response) => {
      if (incoming.url === '/break') {
        response.write('a part')
        setTimeout(() => response.destroy(), 20)
      } else response.end('whole')
    })
    await expect(askHttp2(session, { ':path': '/break' })).rejects.toThrow('NGHTTP2_INTERNAL_ERROR')
    expect((await askHttp2(session)).body).toBe('whole')
  })

  test('an answer shorter than its length is no whole answer', async () => {
    const { session } = await serving((incoming) => {
      incoming.socket.end('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello')
    })
    await expect(askHttp2(session)).rejects.toThrow()
  })

  test('an answer before the end of the request tells the client to send no more', async () => {
    const { edge, session } = await serving((_incoming, response) => response.writeHead(413).end('too much'))
    const stream = request(session, { ':method': 'POST' })
    stream.write('a beginning')
    expect(await answerOf(stream)).toMatchObject({ status: 413, body: 'too much' })
    await eventually(() => stream.closed)
    await isIdle(edge)
  })

  test('a connection that is cut takes its streams along', async () => {
    const { edge, session } = await serving(() => undefined)
    const streams = [request(session), request(session)]
    for (const stream of streams) stream.on('error', () => undefined)
    await isBusy(edge, 2)
    session.destroy()
    await isIdle(edge)
  })

  test('no answer by the request timeout is 504', async () => {
    const { session } = await serving(() => undefined, { timeoutMs: 300 })
    expect((await askHttp2(session)).status).toBe(504)
  })
})

describe('a connection', () => {
  test('is known by its first bytes, however they are cut', async () => {
    const { edge } = await serving((_incoming, response) => response.end('ok'))
    const socket = connect(edge.port, '127.0.0.1').on('error', () => undefined)
    atEnd(() => void socket.destroy())
    let received = Buffer.alloc(0)
    socket.on('data', (chunk: Buffer) => (received = Buffer.concat([received, chunk])))
    for (const part of ['P', 'RI * HT', 'TP/2.0\r\n\r\nSM\r\n', '\r\n']) {
      socket.write(part)
      await new Promise((resolve) => {
        setTimeout(resolve, 20)
      })
    }
    socket.write(Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]))
    // The first frame of a server is SETTINGS.
    await eventually(() => received.length > 9 && received[3] === 4)
    expect((await ask({ port: edge.port, method: 'PUT' })).status).toBe(200)
    expect((await ask({ port: edge.port, method: 'PROPFIND' })).body).toBe('ok')
  })

  test('is told to go when the router stops, and its streams are finished', async () => {
    let finish = () => {}
    const { edge, session } = await serving(
      (_incoming, response) => (finish = () => response.end('finished')),
      {},
      { BERTH_ROUTER_DRAIN_SECONDS: '30' },
    )
    const answer = askHttp2(session)
    await isBusy(edge)
    const goaway = once(session, 'goaway')
    const closed = edge.router.stop()
    expect((await goaway)[0]).toBe(0)
    finish()
    expect((await answer).body).toBe('finished')
    await closed
  })
})
