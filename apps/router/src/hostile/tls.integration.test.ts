import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect as connectTcp } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect, type ConnectionOptions } from 'node:tls'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { makeCertificates } from '../../../../test/support/certificates.ts'
import { sendRaw, startEdge, type Edge } from '../testing/edge.ts'
import { readMessages, valuesOf, type Message } from '../testing/messages.ts'
import { startRawOrigin, type RawOrigin } from '../testing/raw-origin.ts'
import { aHost, aReplica, aRevision } from '../testing/routes.ts'
import { clientHello } from './client-hello.ts'

/*
 * Names inside and outside of TLS, and where a request without TLS is sent.
 */

let folder: string
let authority: string
let edge: Edge
let mine: RawOrigin
let theirs: RawOrigin
const ok = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'berth-hostile-'))
  const certificates = makeCertificates(folder)
  await certificates.authority('authority')
  authority = await certificates.trust('authority')
  await certificates.certificate('both', 'authority', 'DNS:hello.localhost,DNS:theirs.localhost')
  await rm(join(folder, 'authority.pem'))
  mine = await startRawOrigin(({ socket }) => socket.write(ok))
  theirs = await startRawOrigin(({ socket }) => socket.write(ok))
  const toTheirs = [{ revision: 'rev-2', percent: 100 }]
  const table = {
    hosts: [
      aHost(),
      aHost({ host: 'theirs.localhost', project: 'other', service: 'theirs', targets: toTheirs }),
    ],
    revisions: [
      aRevision({ replicas: [aReplica('r1', mine.port)] }),
      aRevision({ uid: 'rev-2', project: 'other', replicas: [aReplica('r2', theirs.port)] }),
    ],
  }
  const env = { BERTH_TLS_PORT: '0', BERTH_TLS_FOLDER: folder, BERTH_TLS_REDIRECT: 'on' }
  edge = await startEdge(table, env)
})
afterAll(async () => {
  await edge.close()
  await Promise.all([mine.close(), theirs.close()])
  await rm(folder, { recursive: true })
})
beforeEach(() => {
  for (const origin of [mine, theirs])
    for (const connection of origin.connections) Object.assign(connection, { received: '' })
})

const tlsPort = () => edge.router.tlsPorts[0] ?? 0
const requestFor = (name: string) => `GET / HTTP/1.1\r\nHost: ${name}\r\nConnection: close\r\n\r\n`

/** The requests that reached a tenant. */
const askedOf = (origin: RawOrigin) =>
  origin.connections.flatMap(({ received }) => readMessages(received).messages)
const nothingArrived = () => {
  expect(mine.connections.map(({ received }) => received).join('')).toBe('')
  expect(theirs.connections.map(({ received }) => received).join('')).toBe('')
}

/** Sends bytes over TLS whose handshake named `servername`, if any. Rejects when there is no handshake. */
async function sendOverTls(servername: string | undefined, bytes: string): Promise<Message[]> {
  const options: ConnectionOptions = { host: '127.0.0.1', port: tlsPort(), ca: authority }
  const named = servername === undefined ? {} : { servername }
  const socket = connect({ ...options, ...named, checkServerIdentity: () => undefined })
  let received = ''
  socket.setEncoding('latin1').on('data', (text: string) => {
    received += text
  })
  await once(socket, 'secureConnect')
  socket.write(bytes, 'latin1')
  await once(socket, 'close')
  return readMessages(received).messages
}

const startsOf = (messages: readonly Message[]) => messages.map(({ start }) => start.split(' ')[1])

describe('the name in the handshake', () => {
  test.each([
    ['of another tenant', 'hello.localhost', 'theirs.localhost'],
    ['of a service, for a host that nobody has', 'hello.localhost', 'nobody.localhost'],
  ])('%s is not the one that is asked: 421, and neither hears of it (case 54)', async (_what, name, host) => {
    const answers = await sendOverTls(name, requestFor(host))
    expect(startsOf(answers)).toEqual(['421'])
    nothingArrived()
  })

  test.each(['hello.localhost', 'HELLO.localhost.', 'hello.localhost:8443'])(
    'is the one that is asked, however it is spelled: %s (case 54)',
    async (host) => {
      expect(startsOf(await sendOverTls('hello.localhost', requestFor(host)))).toEqual(['200'])
      expect(askedOf(mine)).toHaveLength(1)
      expect(askedOf(theirs)).toHaveLength(0)
    },
  )

  test.each([
    ['of 300 bytes', 'a'.repeat(300)],
    ['of 16,000 bytes', 'a'.repeat(16_000)],
    ['above ASCII', 'h\xe9llo.localhost'],
    ['of bytes that are no text', '\xff\xfe\xfd'],
    ['with a NUL', 'hello.localhost\0.evil'],
    ['that is empty', ''],
    ['of one dot', '.'],
    ['with a wildcard', '*.localhost'],
    ['with a path', '../../hello'],
    ['that means something to JavaScript', '__proto__'],
  ])('%s gets no connection and disturbs nobody (case 55)', async (_what, name) => {
    const socket = connectTcp(tlsPort(), '127.0.0.1')
    let received = Buffer.alloc(0)
    socket.on('data', (chunk: Buffer) => {
      received = Buffer.concat([received, chunk])
    })
    socket.on('error', () => undefined)
    socket.write(clientHello(Buffer.from(name, 'latin1')))
    await once(socket, 'close')
    // An alert, or nothing; no handshake goes on.
    expect([undefined, 0x15]).toContain(received[0])
    nothingArrived()
    expect(startsOf(await sendOverTls('hello.localhost', requestFor('hello.localhost')))).toEqual(['200'])
  })

  test('written by hand is answered by the server when it is a good one (case 55)', async () => {
    const socket = connectTcp(tlsPort(), '127.0.0.1')
    socket.write(clientHello(Buffer.from('hello.localhost')))
    const [chunk] = (await once(socket, 'data')) as [Buffer]
    expect(chunk[0]).toBe(0x16)
    socket.destroy()
  })

  test('is missing: no certificate is shown (case 55)', async () => {
    await expect(sendOverTls(undefined, requestFor('hello.localhost'))).rejects.toThrow()
    nothingArrived()
  })
})

describe('a request without TLS is sent to the host of the service alone', () => {
  const locationOf = async (bytes: string): Promise<string[]> => {
    const { messages } = readMessages(await sendRaw(edge.port, Buffer.from(bytes, 'latin1')))
    expect(startsOf(messages)).toEqual(['308'])
    nothingArrived()
    return messages.flatMap((message) => valuesOf(message, 'location'))
  }
  const secure = () => 'https://hello.localhost:0'

  test.each(['//evil.com', '//evil.com/%2e%2e', '/\\evil.com', '/@evil.com', '/?//evil.com', '/%0d%0aX:y'])(
    'with its path behind it: %s (case 56)',
    async (path) => {
      const bytes = requestFor('hello.localhost').replace('GET /', `GET ${path}`)
      expect(await locationOf(bytes)).toEqual([`${secure()}${path}`])
    },
  )

  test.each([
    ['X-Forwarded-Host', 'X-Forwarded-Host: evil.com'],
    ['X-Forwarded-Proto', 'X-Forwarded-Proto: https'],
    ['Forwarded', 'Forwarded: host=evil.com;proto=https'],
    ['X-Original-Host', 'X-Original-Host: evil.com'],
    ['Origin and Referer', 'Origin: http://evil.com\r\nReferer: http://evil.com/'],
  ])('whatever %s says (case 56)', async (_what, field) => {
    const bytes = requestFor('hello.localhost').replace('Connection', `${field}\r\nConnection`)
    expect(await locationOf(bytes)).toEqual([`${secure()}/`])
  })

  test.each(['Hello.Localhost:8080', 'hello.localhost.', 'hello.localhost:1'])(
    'which is the known one and not as it was written: %s (case 56)',
    async (name) => {
      expect(await locationOf(requestFor(name))).toEqual([`${secure()}/`])
    },
  )

  test.each(['evil.com', 'hello.localhost.evil.com', 'hello.localhost@evil.com', 'evil.com#hello.localhost'])(
    'and nowhere for %s (case 56)',
    async (name) => {
      const received = await sendRaw(edge.port, requestFor(name))
      expect(received).toMatch(/^HTTP\/1\.1 4(?:04|00) /)
      expect(received.toLowerCase()).not.toMatch(/\r\nlocation:/)
      nothingArrived()
    },
  )
})
