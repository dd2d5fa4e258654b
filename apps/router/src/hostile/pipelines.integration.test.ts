import { afterAll, beforeAll, expect, test } from 'vitest'
import { readMessages } from '../testing/messages.ts'
import { startRawOrigin, type OriginConnection, type RawOrigin } from '../testing/raw-origin.ts'
import { aHost, aReplica, aRevision } from '../testing/routes.ts'
import { sendRaw, startEdge, type Edge } from '../testing/edge.ts'

/*
 * Many requests of one client at once, for services of two tenants.
 */

let edge: Edge
let mine: RawOrigin
let theirs: RawOrigin

/** Answers whole requests with their target, the later ones of a piece first, and notes what it was asked. */
function answering(name: string) {
  const answered = new Map<OriginConnection, number>()
  return (connection: OriginConnection): void => {
    const { messages } = readMessages(connection.received)
    for (const { start } of messages.slice(answered.get(connection) ?? 0)) {
      const body = `${name} ${start.split(' ')[1]}`
      const wait = Number(start.split('/')[1]?.split(' ')[0]) % 7
      const bytes = `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`
      setTimeout(() => connection.socket.write(bytes), 7 - wait)
    }
    answered.set(connection, messages.length)
  }
}

beforeAll(async () => {
  mine = await startRawOrigin(answering('mine'))
  theirs = await startRawOrigin(answering('theirs'))
  const toTheirs = [{ revision: 'rev-2', percent: 100 }]
  edge = await startEdge({
    hosts: [
      aHost(),
      aHost({ host: 'theirs.localhost', project: 'other', service: 'theirs', targets: toTheirs }),
    ],
    revisions: [
      aRevision({ concurrency: 4, replicas: [aReplica('r1', mine.port)] }),
      aRevision({ uid: 'rev-2', project: 'other', concurrency: 4, replicas: [aReplica('r2', theirs.port)] }),
    ],
  })
})
afterAll(async () => {
  await edge.close()
  await Promise.all([mine.close(), theirs.close()])
})

const askedOf = (origin: RawOrigin) =>
  origin.connections
    .flatMap(({ received }) => readMessages(received).messages)
    .map(({ start }) => start.split(' ')[1])

test('100 requests are answered in their order, each by its own tenant, and reach no other (case 32)', async () => {
  const asked = Array.from({ length: 100 }, (_, i) => ({
    path: `/${i}`,
    tenant: i % 3 === 0 ? 'theirs' : 'mine',
  }))
  const bytes = asked.map(({ path, tenant }, i) => {
    const name = tenant === 'mine' ? 'hello' : 'theirs'
    const last = i === 99 ? 'Connection: close\r\n' : ''
    return `POST ${path} HTTP/1.1\r\nHost: ${name}.localhost\r\n${last}Content-Length: 5\r\n\r\nhello`
  })
  const { messages, rest } = readMessages(await sendRaw(edge.port, bytes.join('')))
  expect(messages.map(({ body }) => body)).toEqual(asked.map(({ path, tenant }) => `${tenant} ${path}`))
  expect(rest).toBe('')
  for (const [origin, tenant] of [
    [mine, 'mine'],
    [theirs, 'theirs'],
  ] as const) {
    const wanted = asked.filter((each) => each.tenant === tenant).map(({ path }) => path)
    expect(new Set(askedOf(origin))).toEqual(new Set(wanted))
    expect(askedOf(origin)).toHaveLength(wanted.length)
    // No more at once than the service has slots for, however many a client sends.
    expect(origin.connections.length).toBeLessThanOrEqual(4)
  }
})
