import { once } from 'node:events'
import {
  constants,
  type ClientHttp2Session,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  type ServerHttp2Stream,
} from 'node:http2'
import { afterEach, describe, expect, test } from 'vitest'
import type { RevisionRoute } from '@berth/contracts'
import { ask, eventually, sendRaw, startEdge, type Edge } from './testing/edge.ts'
import { startHttp2App } from './testing/http2-app.ts'
import { answerOf, askHttp2, openSession, request } from './testing/http2.ts'
import { aReplica, aRevision } from './testing/routes.ts'

const endings: (() => Promise<unknown> | void)[] = []
const atEnd = (ending: () => Promise<unknown> | void) => endings.push(ending)
afterEach(async () => {
  for (const ending of endings.splice(0).reverse()) await ending()
})

async function serving(
  onStream: (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void,
  changes: Partial<RevisionRoute> = {},
): Promise<{ edge: Edge; session: ClientHttp2Session }> {
  const app = await startHttp2App(onStream)
  atEnd(() => app.close())
  const revision = aRevision({ replicas: [aReplica('r1', app.port)], protocol: 'h2c', ...changes })
  const edge = await startEdge({ revisions: [revision] })
  atEnd(() => edge.close())
  const session = await openSession(`http://127.0.0.1:${edge.port}`)
  atEnd(() => session.destroy())
  return { edge, session }
}

function echoes(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void {
  const { ':method': method, ':path': path, ':authority': authority } = headers
  stream.respond({ ':status': 200, 'x-asked': `${method} ${authority}${path}` })
  stream.pipe(stream)
}

const grpcRequest = { ':method': 'POST', 'content-type': 'application/grpc', te: 'trailers' }
const grpcHead = { ':status': 200, 'content-type': 'application/grpc' }

/** Answers like a gRPC server: the messages, then the status in trailers. */
function respondInGrpc(stream: ServerHttp2Stream, status: number): void {
  stream.respond(grpcHead, { waitForTrailers: true })
  stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': String(status) }))
}

describe('an app that speaks HTTP/2', () => {
  test('answers clients of HTTP/2', async () => {
    const { session } = await serving(echoes)
    const answer = await askHttp2(session, { ':path': '/a?b' }, 'hello')
    expect(answer).toMatchObject({ status: 200, body: 'hello' })
    expect(answer.headers['x-asked']).toBe('POST hello.localhost/a?b')
  })

  test('answers clients of HTTP/1.1, with and without a body', async () => {
    const { edge } = await serving(echoes)
    const get = await ask({ port: edge.port, path: '/a' })
    expect(get).toMatchObject({ status: 200, body: '', headers: { 'x-asked': 'GET hello.localhost/a' } })
    const post = await ask({ port: edge.port, method: 'POST', body: 'hello' })
    expect(post).toMatchObject({ status: 200, body: 'hello' })
  })

  test('sends a client of HTTP/1.1 an answer without a length in chunks, with its trailers', async () => {
    const { edge } = await serving((stream) => {
      stream.respond({}, { waitForTrailers: true })
      stream.on('wantTrailers', () => stream.sendTrailers({ 'x-sum': 'abc' }))
      stream.write('a part')
      stream.end(' and the rest')
    })
    const head = 'GET / HTTP/1.1\r\nHost: hello.localhost\r\nConnection: close\r\nTE: trailers\r\n\r\n'
    const bytes = await sendRaw(edge.port, head)
    expect(bytes).toContain('6\r\na part\r\n')
    expect(bytes).toMatch(/\r\n0\r\nx-sum: abc\r\n\r\n$/)
  })

  test('is asked by as many streams at once as its concurrency allows', async () => {
    let inside = 0
    let most = 0
    const { session } = await serving(
      (stream) => {
        inside += 1
        most = Math.max(most, inside)
        setTimeout(() => {
          inside -= 1
          stream.respond({ ':status': 204 }, { endStream: true })
        }, 5)
      },
      { concurrency: 2 },
    )
    const answers = await Promise.all(Array.from({ length: 40 }, () => askHttp2(session)))
    expect(answers.every(({ status }) => status === 204)).toBe(true)
    expect(most).toBe(2)
  })

  test('that refuses a stream is asked again, and the client knows nothing of it', async () => {
    let asked = 0
    const { session } = await serving((stream) => {
      asked += 1
      if (asked === 1) stream.close(constants.NGHTTP2_REFUSED_STREAM)
      else stream.respond({ ':status': 204 }, { endStream: true })
    })
    expect((await askHttp2(session, {}, 'x')).status).toBe(204)
    expect(asked).toBe(2)
  })

  test('is let go when its client leaves', async () => {
    const closed = Promise.withResolvers<void>()
    const { session } = await serving((stream) => stream.once('close', () => closed.resolve()))
    const stream = request(session)
    stream.on('error', () => undefined)
    setTimeout(() => stream.close(constants.NGHTTP2_CANCEL), 50)
    await closed.promise
  })

  test('that breaks an answer off breaks it off for the client too', async () => {
    const { edge, session } = await serving((stream) => {
      stream.respond()
      stream.write('a part')
      setTimeout(() => stream.destroy(new Error('broken')), 50)
    })
    await expect(askHttp2(session)).rejects.toThrow('NGHTTP2_INTERNAL_ERROR')
    await expect(ask({ port: edge.port })).rejects.toThrow(/aborted|ECONNRESET/)
  })

  test('never takes an upload that its client resets for a whole one', async () => {
    const seen: string[] = []
    const { session } = await serving((stream) => {
      stream.on('end', () => seen.push('end')).on('aborted', () => seen.push('aborted'))
      stream.resume()
      stream.once('data', () => upload.destroy(new Error('changed my mind')))
    })
    const upload = request(session, { ':method': 'POST' })
    upload.on('error', () => undefined)
    upload.write('half')
    await eventually(() => seen.length > 0)
    expect(seen[0]).toBe('aborted')
  })
})

describe('gRPC', () => {
  test('a unary call reaches the app with `te: trailers`, and its status comes back in trailers', async () => {
    let te: string | string[] | undefined
    const { session } = await serving((stream, headers) => {
      te = headers.te
      respondInGrpc(stream, 0)
      stream.pipe(stream)
    })
    const answer = await askHttp2(session, grpcRequest, 'message')
    expect(te).toBe('trailers')
    expect(answer).toMatchObject({ status: 200, body: 'message', trailers: { 'grpc-status': '0' } })
  })

  test('a server streams its messages one by one', async () => {
    const next: (() => void)[] = []
    const { session } = await serving((stream) => {
      respondInGrpc(stream, 0)
      next.push(
        () => void stream.write('one'),
        () => void stream.write('two'),
        () => void stream.end(),
      )
      next.shift()?.()
    })
    const stream = request(session, grpcRequest)
    const answer = answerOf(stream)
    stream.end('begin')
    for (const message of ['one', 'two']) {
      expect(await once(stream, 'data')).toEqual([message])
      next.shift()?.()
    }
    expect(await answer).toMatchObject({ body: 'onetwo', trailers: { 'grpc-status': '0' } })
  })

  test('both sides stream at once', async () => {
    const { session } = await serving((stream) => {
      respondInGrpc(stream, 5)
      stream.pipe(stream)
    })
    const stream = request(session, grpcRequest)
    const answer = answerOf(stream)
    for (const message of ['ping', 'pong']) {
      stream.write(message)
      expect(await once(stream, 'data')).toEqual([message])
    }
    stream.end()
    expect((await answer).trailers['grpc-status']).toBe('5')
  })

  test('an answer of nothing but a status stays one head that ends the stream', async () => {
    const { session } = await serving((stream) =>
      stream.respond({ ...grpcHead, 'grpc-status': '12' }, { endStream: true }),
    )
    expect(await onlyHead(session)).toMatchObject({ ':status': 200, 'grpc-status': '12' })
  })

  test('what the router refuses is told in the words of gRPC', async () => {
    const { session } = await serving(() => undefined, { replicas: [], queueDeadlineMs: 1 })
    const headers = await onlyHead(session)
    expect(headers).toMatchObject({ ':status': 200, 'content-type': 'application/grpc', 'grpc-status': '14' })
    expect(headers['grpc-message']).toMatch(/^[ -~]+$/)
    const unknown = await onlyHead(session, { ':authority': 'nobody.localhost' })
    expect(unknown).toMatchObject({ ':status': 200, 'grpc-status': '12' })
  })

  test('an app that breaks a call off before it answers is a status as well', async () => {
    const { session } = await serving((stream) => stream.close(constants.NGHTTP2_INTERNAL_ERROR))
    expect(await onlyHead(session)).toMatchObject({ ':status': 200, 'grpc-status': '14' })
  })
})

/** The head of an answer to a call, which has to end the stream. */
async function onlyHead(session: ClientHttp2Session, headers: OutgoingHttpHeaders = {}) {
  const stream = request(session, { ...grpcRequest, ...headers })
  stream.end('message')
  const [head, flags] = (await once(stream, 'response')) as [IncomingHttpHeaders, number]
  expect(flags & constants.NGHTTP2_FLAG_END_STREAM).not.toBe(0)
  return head
}
