import { createHash, randomBytes } from 'node:crypto'
import { request } from 'node:http'
import { connect } from 'node:net'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { WebSocket } from 'ws'
import { connectPlatform } from '../support/platform.ts'
import { until } from '../support/poll.ts'

const platform = connectPlatform(inject('platform'))
const { edge } = platform.connection.ports
const service = 'cnf-requests'
/** Allows two seconds for a request. */
const limited = 'cnf-limited'
const cold = 'cnf-cold-socket'
const inflight = ['cnf-fly-replace', 'cnf-fly-delete']

beforeAll(async () => {
  await Promise.all([
    platform.deploy(service, { minScale: 1, maxScale: 1 }),
    platform.deploy(limited, { minScale: 1, maxScale: 1, timeoutSeconds: 2 }),
    platform.deploy(cold, {
      idle: { freezeAfterSeconds: 'never', parkAfterSeconds: 'never', coldAfterSeconds: 1 },
    }),
    // They end on SIGTERM with whatever they are doing.
    ...inflight.map((name) =>
      platform.deploy(name, { minScale: 1, maxScale: 1, env: { EXIT_AT_ONCE: '1' } }),
    ),
  ])
})
afterAll(() => Promise.all([service, limited, cold, ...inflight].map((name) => platform.remove(name))))

function openSocket(name: string): WebSocket {
  return new WebSocket(`ws://127.0.0.1:${edge}/`, { headers: { host: platform.host(name) } })
}

/** Sends one message over a new WebSocket and answers with what comes back. */
async function echoOverSocket(name: string, message: string): Promise<string> {
  const socket = openSocket(name)
  const heard = new Promise<string>((resolve, reject) => {
    socket.once('open', () => socket.send(message))
    socket.once('message', (data: Buffer) => resolve(data.toString()))
    socket.once('error', reject)
  })
  try {
    return await heard
  } finally {
    socket.close()
  }
}

/** When each piece of an answer came, in milliseconds since the request was sent. */
function arrivals(path: string): Promise<number[]> {
  const sentAt = performance.now()
  return new Promise((resolve, reject) => {
    const times: number[] = []
    const headers = { host: platform.host(service) }
    const outgoing = request({ host: '127.0.0.1', port: edge, path, headers, agent: false })
    outgoing.once('error', reject)
    outgoing.once('response', (incoming) => {
      incoming.on('data', () => times.push(performance.now() - sentAt))
      incoming.once('error', reject)
      incoming.once('end', () => resolve(times))
    })
    outgoing.end()
  })
}

/** What the edge answers to bytes that no HTTP client would send. */
function sendRaw(text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(edge, '127.0.0.1', () => socket.write(text))
    let answer = ''
    socket.setTimeout(20_000, () => socket.destroy(new Error('no answer')))
    socket.on('data', (chunk: Buffer) => {
      answer += chunk.toString()
      socket.end()
    })
    socket.on('close', () => resolve(answer))
    socket.on('error', reject)
  })
}

describe.concurrent('a request reaches the app unchanged', () => {
  test.each(['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])(
    'with method %s and a body',
    async (method) => {
      const body = randomBytes(100_000)
      const answer = await platform.request(service, { method, path: '/any/path?a=%20b&a=2', body })
      expect(answer.json()).toMatchObject({
        method,
        url: '/any/path?a=%20b&a=2',
        httpVersion: '1.1',
        bodyLength: body.length,
        bodySha256: createHash('sha256').update(body).digest('hex'),
      })
    },
  )

  test('with headers of its own in every legal character, and twice where they came twice (14)', async () => {
    const visible = Array.from({ length: 94 }, (_, index) => String.fromCodePoint(33 + index)).join('')
    const headers = { 'x-visible': `a ${visible}`, 'x-twice': ['one', 'two'] }
    const { rawHeaders } = (await platform.request(service, { headers })).json<{ rawHeaders: string[] }>()
    const pairs = rawHeaders.flatMap((name, index) => {
      const value = rawHeaders[index + 1]
      return index % 2 === 0 ? [`${name.toLowerCase()}: ${value}`] : []
    })
    expect(pairs).toContain(`x-visible: a ${visible}`)
    expect(pairs.filter((pair) => pair.startsWith('x-twice: ')).join()).toMatch(/one,.*two/)
  })

  test.each(['TRACE', 'CONNECT'])('but not with method %s (48)', async (method) => {
    const target = method === 'CONNECT' ? platform.host(service) : '/'
    const answer = await sendRaw(`${method} ${target} HTTP/1.1\r\nHost: ${platform.host(service)}\r\n\r\n`)
    expect(answer).toMatch(/^HTTP\/1\.1 (400|405) /)
  })
})

describe.concurrent('an answer is not held back', () => {
  test.each(['/events?count=4&ms=500', '/stream?chunks=4&bytes=10&ms=500'])(
    'as it comes: %s',
    async (path) => {
      const times = await arrivals(path)
      const [firstAt = 0, lastAt = 0] = [times.at(0), times.at(-1)]
      // The app takes 1.5 s from the first piece to the last one.
      expect(times.length).toBeGreaterThan(1)
      expect(lastAt - firstAt).toBeGreaterThan(500)
    },
  )
})

describe.concurrent('a request timeout of two seconds', () => {
  test('lets pass what ends before it, answers 504 to what does not, and leaves the replica alone (36)', async () => {
    const pidOf = async () => (await platform.request(limited)).json<{ pid: number }>().pid
    const before = await pidOf()
    const [quick, slow] = await Promise.all([
      platform.request(limited, { path: '/sleep?ms=100' }),
      platform.request(limited, { path: '/sleep?ms=4000' }),
    ])
    expect(quick.status).toBe(200)
    expect(slow.status).toBe(504)
    expect(slow.json()).toMatchObject({ code: 'request-timeout' })
    expect(await pidOf()).toBe(before)
  })

  test('breaks off an answer that has begun, visibly, and ends a WebSocket', async () => {
    const socket = openSocket(limited)
    const closed = new Promise<boolean>((resolve) => socket.once('close', () => resolve(true)))
    await new Promise((resolve, reject) => {
      socket.once('open', resolve)
      socket.once('error', reject)
    })
    const broken = platform.request(limited, { path: '/stream?chunks=8&bytes=10&ms=500' })
    await expect(broken).rejects.toThrow()
    expect(await closed).toBe(true)
  })
})

describe.concurrent('a WebSocket to a service with no replica', () => {
  test('waits for one and is answered (4)', async () => {
    await until(async () => (await platform.replicas(cold)).length === 0, {
      timeoutMs: 60_000,
      describe: `${cold} to be cold`,
    })
    expect(await echoOverSocket(cold, 'hello')).toBe('hello')
  })
})

describe.concurrent('six requests that are in flight', () => {
  /** Sends them, waits until the app has them, and answers with what comes of them. */
  async function sendSix(name: string, ms: number) {
    // A POST is never sent a second time to another replica.
    const asked = { method: 'POST', path: `/sleep?ms=${ms}` }
    const answers = Array.from({ length: 6 }, () => platform.request(name, asked))
    await until(
      async () => {
        const stats = await platform.request(name, { path: '/stats' })
        return stats.json<{ current: number }>().current === 6
      },
      { describe: 'six requests to be in the app' },
    )
    return async () => (await Promise.all(answers)).map(({ status }) => status)
  }

  test('are answered when a newer revision takes over (3)', async () => {
    const [name = ''] = inflight
    const statuses = await sendSix(name, 7000)
    await platform.update(name, { env: { NEXT: '1' } })
    expect(await statuses()).toEqual([200, 200, 200, 200, 200, 200])
    expect((await platform.request(name)).json()).toMatchObject({ revision: `${name}-00002` })
  })

  test('are answered when their service is deleted, and the next one is not (3)', async () => {
    const [, name = ''] = inflight
    const statuses = await sendSix(name, 3000)
    await platform.expectApi([202], 'DELETE', `/services/${name}`)
    expect(await statuses()).toEqual([200, 200, 200, 200, 200, 200])
    expect((await platform.request(name)).status).toBe(404)
  })
})
