import { once } from 'node:events'
import { copyFile, mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { request } from 'node:https'
import type { IncomingMessage } from 'node:http'
import { connect as connectTcp } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { connect, type PeerCertificate, type TLSSocket } from 'node:tls'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { type ClientOptions, WebSocket, WebSocketServer } from 'ws'
import { makeCertificates, type Certificates } from '../../../test/support/certificates.ts'
import { ask, startApp, startEdge, type App, type Edge } from './testing/edge.ts'
import { askHttp2, openSession } from './testing/http2.ts'
import { aReplica, aRevision } from './testing/routes.ts'

const host = 'hello.localhost'
let made: string
let certificates: Certificates
let authority: string
let folder: string
let app: App
let edge: Edge

beforeAll(async () => {
  made = await mkdtemp(join(tmpdir(), 'berth-tls-'))
  certificates = makeCertificates(made)
  await certificates.authority('authority')
  await certificates.certificate('first', 'authority', 'DNS:hello.localhost')
  await certificates.certificate('second', 'authority', 'DNS:hello.localhost')
  await certificates.certificate('wild', 'authority', 'DNS:*.shop.example')
  authority = await certificates.trust('authority')
})
afterAll(() => rm(made, { recursive: true }))

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'berth-tls-'))
  await show('first', 'hello')
  app = await startApp((request, response) => {
    if (request.url === '/break') {
      response.writeHead(200, { 'content-length': 100 }).write('a part')
      setTimeout(() => response.destroy(), 20)
    } else response.end(JSON.stringify({ url: request.url, headers: request.headers }))
  })
  const sockets = new WebSocketServer({ noServer: true })
  app.server.on('upgrade', (upgrade, socket, head) =>
    sockets.handleUpgrade(upgrade, socket, head, (peer) => peer.on('message', (data) => peer.send(data))),
  )
})
afterEach(async () => {
  await edge.close()
  await app.close()
  await rm(folder, { recursive: true })
})

/** Puts a certificate that was made into the folder, as it is done by hand: key and chain one after the other. */
async function show(certificate: string, name: string): Promise<void> {
  await copyFile(join(made, `${certificate}.key`), join(folder, `${name}.key`))
  await copyFile(join(made, `${certificate}.pem`), join(folder, `${name}.new`))
  await rename(join(folder, `${name}.new`), join(folder, `${name}.pem`))
}

async function open(env: Record<string, string> = {}): Promise<number> {
  const revisions = [aRevision({ replicas: [aReplica('r1', app.port)] })]
  edge = await startEdge({ revisions }, { BERTH_TLS_PORT: '0', BERTH_TLS_FOLDER: folder, ...env })
  return edge.router.tlsPorts[0] ?? 0
}

async function get(port: number, path = '/'): Promise<{ status: number | undefined; body: string }> {
  const asked = request({
    host: '127.0.0.1',
    port,
    path,
    servername: host,
    headers: { host },
    ca: authority,
    agent: false,
  })
  asked.end()
  const [answer] = (await once(asked, 'response')) as [IncomingMessage]
  return { status: answer.statusCode, body: await text(answer) }
}

/** A handshake only. */
async function shake(
  port: number,
  options: { servername?: string; maxVersion?: 'TLSv1.1'; ALPNProtocols?: string[] } = {},
) {
  const socket: TLSSocket = connect({ host: '127.0.0.1', port, ca: authority, servername: host, ...options })
  try {
    await once(socket, 'secureConnect')
    return {
      certificate: socket.getPeerCertificate(),
      protocol: socket.getProtocol(),
      alpn: socket.alpnProtocol,
    }
  } finally {
    socket.destroy()
  }
}

const serialOf = ({ serialNumber }: PeerCertificate) => serialNumber

describe('over TLS', () => {
  test('a request reaches its service, which hears of the scheme', async () => {
    const port = await open()
    const { status, body } = await get(port, '/over?tls=1')
    expect(status).toBe(200)
    expect(JSON.parse(body)).toMatchObject({
      url: '/over?tls=1',
      headers: {
        host,
        'x-forwarded-proto': 'https',
        'x-forwarded-for': '127.0.0.1',
        forwarded: `for=127.0.0.1;host="${host}";proto=https`,
      },
    })
  })

  test('a WebSocket is carried as well', async () => {
    const port = await open()
    const options: ClientOptions & { servername: string } = {
      headers: { host },
      servername: host,
      ca: authority,
    }
    const socket = new WebSocket(`wss://127.0.0.1:${port}/`, options)
    await once(socket, 'open')
    socket.send('hello')
    const [said] = (await once(socket, 'message')) as [Buffer]
    expect(said.toString()).toBe('hello')
    socket.close()
    await once(socket, 'close')
  })

  test('a client that knows HTTP/2 gets it, and one that does not gets HTTP/1.1', async () => {
    const port = await open()
    const session = await openSession(`https://127.0.0.1:${port}`, { ca: authority, servername: host })
    const { status, body } = await askHttp2(session, { ':authority': host, ':path': '/over?h2' })
    session.destroy()
    expect(status).toBe(200)
    expect(JSON.parse(body)).toMatchObject({
      url: '/over?h2',
      headers: { host, 'x-forwarded-proto': 'https' },
    })
    expect((await shake(port, { ALPNProtocols: ['http/1.1'] })).alpn).toBe('http/1.1')
    expect((await shake(port)).alpn).toBe(false)
  })

  test('an answer that breaks off is no whole answer', async () => {
    const port = await open()
    await expect(get(port, '/break')).rejects.toThrow()
  })

  test('old protocols and hosts without a certificate get no connection', async () => {
    const port = await open()
    expect((await shake(port)).protocol).toBe('TLSv1.3')
    await expect(shake(port, { maxVersion: 'TLSv1.1' })).rejects.toThrow()
    await expect(shake(port, { servername: 'other.localhost' })).rejects.toThrow()
  })

  test('what is no TLS ends without disturbing anybody', async () => {
    const port = await open()
    const socket = connectTcp(port, '127.0.0.1', () => socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n'))
    socket.on('error', () => undefined).resume()
    await once(socket, 'close')
    expect((await get(port)).status).toBe(200)
  })
})

describe('certificates', () => {
  test('that are replaced or added are shown without a restart, and broken ones change nothing', async () => {
    const port = await open()
    const first = serialOf((await shake(port)).certificate)
    await writeFile(join(folder, 'hello.pem'), 'no certificate')
    await show('wild', 'shop')
    await vi.waitFor(() => shake(port, { servername: 'a.shop.example' }), { timeout: 10_000, interval: 200 })
    await expect(shake(port, { servername: 'a.b.shop.example' })).rejects.toThrow()
    expect(serialOf((await shake(port)).certificate)).toBe(first)
    await show('second', 'hello')
    await vi.waitFor(async () => expect(serialOf((await shake(port)).certificate)).not.toBe(first), {
      timeout: 10_000,
      interval: 200,
    })
  })
})

describe('a request without TLS', () => {
  test('is served as it is, unless it is to be sent to TLS', async () => {
    await open()
    expect((await ask({ port: edge.port })).status).toBe(200)
  })

  test('is sent to the same place with TLS', async () => {
    await open({ BERTH_TLS_REDIRECT: 'on' })
    const answer = await ask({ port: edge.port, path: '/a?b=c', method: 'POST', body: 'x' })
    expect(answer.status).toBe(308)
    expect(answer.headers['location']).toBe(`https://${host}:0/a?b=c`)
  })

  test('is served when a trusted proxy has ended TLS before', async () => {
    await open({ BERTH_TLS_REDIRECT: 'on', BERTH_TRUSTED_PROXIES: '127.0.0.0/8' })
    expect((await ask({ port: edge.port, headers: { 'x-forwarded-proto': 'https' } })).status).toBe(200)
    expect((await ask({ port: edge.port, headers: { 'x-forwarded-proto': 'http' } })).status).toBe(308)
  })
})
