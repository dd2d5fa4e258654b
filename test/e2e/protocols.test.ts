import { createHash, randomBytes } from 'node:crypto'
import { connect } from 'node:net'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { WebSocket } from 'ws'
import { connectPlatform, type ServiceBody } from '../support/platform.ts'
import { until } from '../support/poll.ts'

const platform = connectPlatform(inject('platform'))
const service = 'proto'
const { ports } = platform.connection

beforeAll(async () => {
  await platform.deploy(service, { minScale: 1, maxScale: 1 })
  await platform.waitReady(service)
})
afterAll(() => platform.remove(service))

describe('the edge carries', () => {
  test('a WebSocket both ways', async () => {
    const socket = new WebSocket(`ws://127.0.0.1:${ports.edge}/`, {
      headers: { host: platform.host(service) },
    })
    const heard: string[] = []
    socket.on('message', (data: Buffer) => heard.push(data.toString()))
    await new Promise((resolve, reject) => {
      socket.once('open', resolve)
      socket.once('error', reject)
    })
    const long = 'x'.repeat(70_000)
    socket.send('one')
    socket.send(long)
    await until(() => heard.length === 2, { describe: 'both messages to come back' })
    expect(heard).toEqual(['one', long])
    const closed = new Promise((resolve) => socket.once('close', resolve))
    socket.close()
    await closed
  })

  test('server-sent events as they come', async () => {
    const answer = await platform.request(service, { path: '/events?count=3&ms=50' })
    expect(answer.headers['content-type']).toBe('text/event-stream')
    expect(answer.text().match(/^data:/gm)).toHaveLength(3)
  })

  test('a large body up and down unchanged', async () => {
    const body = randomBytes(8 * 1024 * 1024)
    const up = await platform.request(service, { method: 'POST', path: '/echo', body })
    expect(up.json()).toMatchObject({
      bodyLength: body.length,
      bodySha256: createHash('sha256').update(body).digest('hex'),
    })
    const down = await platform.request(service, { path: `/big?bytes=${20 * 1024 * 1024}` })
    expect(down.body.length).toBe(20 * 1024 * 1024)
  })

  test('a chunked body', async () => {
    const answer = await platform.request(service, { path: '/stream?chunks=20&bytes=10000' })
    expect(answer.body.length).toBe(200_000)
    expect(answer.headers['content-length']).toBeUndefined()
  })

  test('HEAD without a body, and statuses as they are', async () => {
    const head = await platform.request(service, { method: 'HEAD', path: '/big?bytes=1000' })
    expect(head).toMatchObject({ status: 200 })
    expect(head.headers['content-length']).toBe('1000')
    expect((await platform.request(service, { path: '/status?code=404' })).status).toBe(404)
    expect((await platform.request(service, { path: '/status?code=503' })).status).toBe(503)
  })
})

describe('the edge refuses', () => {
  test('a host that nobody has', async () => {
    const answer = await platform.request('nobody')
    expect(answer.status).toBe(404)
    expect(answer.headers['content-type']).toContain('application/problem+json')
    expect(answer.json()).toMatchObject({ code: 'unknown-host' })
  })

  test('a message with two framings, and the app sees nothing of it', async () => {
    const before = (await platform.request(service, { path: '/stats' })).json<{ total: number }>().total
    const raw = `POST /smuggle HTTP/1.1\r\nHost: ${platform.host(service)}\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /`
    const answer = await new Promise<string>((resolve, reject) => {
      const socket = connect(ports.edge, '127.0.0.1', () => socket.write(raw))
      let text = ''
      socket.setTimeout(20_000, () => socket.destroy(new Error('no answer')))
      socket.on('data', (chunk: Buffer) => (text += chunk.toString()))
      socket.on('close', () => resolve(text))
      socket.on('error', reject)
    })
    expect(answer).toMatch(/^HTTP\/1\.1 400 /)
    const after = (await platform.request(service, { path: '/stats' })).json<{ total: number }>().total
    expect(after).toBe(before)
  })
})

describe('when an app breaks', () => {
  test('before the head the client gets 502, after it a visibly broken message', async () => {
    const unanswered = await platform.request(service, { method: 'POST', path: '/crash' })
    expect(unanswered.status).toBe(502)
    expect(unanswered.json()).toMatchObject({ code: 'bad-gateway' })
    // Waits for the app to be back.
    expect((await platform.request(service)).status).toBe(200)
    await expect(platform.request(service, { path: '/break' })).rejects.toThrow()
    await platform.waitReady(service)
  })
})

describe('when a newer revision takes over', () => {
  test('a WebSocket of the old one is told to go, and the old replica ends well before its drain deadline', async () => {
    const [before] = await platform.replicas(service)
    const socket = new WebSocket(`ws://127.0.0.1:${ports.edge}/`, {
      headers: { host: platform.host(service) },
    })
    await new Promise((resolve, reject) => {
      socket.once('open', resolve)
      socket.once('error', reject)
    })
    const closed = new Promise<number>((resolve) => socket.once('close', resolve))
    const { body } = await platform.expectApi([202], 'PATCH', `/services/${service}`, { env: { NEXT: '1' } })
    const deployment = (body as ServiceBody).deployment?.id ?? ''
    expect(await platform.waitForDeployment(deployment)).toMatchObject({ phase: 'succeeded' })
    expect(await closed).toBe(1001)
    // The request timeout of 300 s would be the deadline.
    await until(async () => (await platform.replicas(service)).every(({ id }) => id !== before?.id), {
      timeoutMs: 60_000,
      describe: 'the old replica to be gone',
    })
  })
})
