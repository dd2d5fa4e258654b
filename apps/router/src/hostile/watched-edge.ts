import { connect } from 'node:net'
import type { RevisionRoute, RouteSnapshot } from '@berth/contracts'
import { ask, startEdge, type Edge } from '../testing/edge.ts'
import { readMessages, type Message } from '../testing/messages.ts'
import { startRawOrigin, type OriginConnection, type RawOrigin } from '../testing/raw-origin.ts'
import { aReplica, aRevision } from '../testing/routes.ts'

/** What came of some bytes of a client, on both sides of the router. */
export type Seen = {
  /** Every byte that the client got. */
  received: string
  /** The same as whole answers. */
  answers: Message[]
  /** What is left of it behind them. */
  leftOver: string
  /** The router ended the connection. */
  closed: boolean
  /** The whole requests that reached the replica, connection by connection. */
  requests: Message[]
  /** Bytes that reached the replica and are no whole request, one entry per connection. */
  unfinished: string[]
  /** Every byte that reached the replica, the next client's request among them, connection by connection. */
  bytes: string[]
  /** How many connections the router has opened to the replica since the last time. */
  opened: number
}

export type WatchedEdge = {
  edge: Edge
  origin: RawOrigin
  /** What the replica says to a whole request. */
  answer: (request: Message, connection: OriginConnection) => string
  /** What it says to a request of which it has the head, and not yet the body; once per connection. */
  answerEarly: (head: string) => string
  /**
   * Sends bytes (latin1), each piece by itself, and reads until the router ends the connection. Before it tells what it
   * has seen, another client asks: whatever a request has left in the router or on its connections comes ahead of that.
   */
  send(pieces: string | readonly string[], options?: SendOptions): Promise<Seen>
  close(): Promise<void>
}

type SendOptions = {
  /** What the client has to hear before it sends its second piece. */
  waitsFor?: string
  /** What it does behind its last byte, instead of waiting for the end. */
  leaves?: 'half-closes' | 'resets'
  /** It leaves when it has so many answers, or no more have come for a while. */
  enough?: number
  /** The next piece goes in the next turn of the event loop, instead of a moment later. */
  isQuick?: boolean
}

const ok = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'
const okWithoutBody = 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'
const next = 'GET /the-next-client HTTP/1.1'
/** The slot is taken by one request at a time, so that every request gets the connection of the one before it. */
const concurrency = 1
/** A connection that stays open this long stays open for good. */
const openForGoodMs = 4000

/** A router before one replica that records every byte. */
export async function startWatchedEdge(
  options: {
    revision?: Partial<RevisionRoute>
    table?: Partial<RouteSnapshot>
    env?: Record<string, string>
  } = {},
): Promise<WatchedEdge> {
  const answered = new WeakMap<OriginConnection, number>()
  const early = new WeakSet<OriginConnection>()
  const origin = await startRawOrigin((connection) => {
    const { messages, rest } = readMessages(connection.received)
    for (const message of messages.slice(answered.get(connection) ?? 0))
      if (message.start === next) connection.socket.write(ok)
      else connection.socket.write(watched.answer(message, connection), 'latin1')
    answered.set(connection, messages.length)
    if (early.has(connection) || !rest.includes('\r\n\r\n')) return
    early.add(connection)
    connection.socket.write(watched.answerEarly(rest), 'latin1')
  })
  const replicas = [aReplica('r1', origin.port)]
  const edge = await startEdge(
    { revisions: [aRevision({ concurrency, replicas, ...options.revision })], ...options.table },
    options.env,
  )

  function forget(): void {
    for (const connection of origin.connections.splice(0))
      if (!connection.closed) {
        origin.connections.push(Object.assign(connection, { received: '' }))
        answered.set(connection, 0)
      }
  }

  const watched: WatchedEdge = {
    edge,
    origin,
    answerEarly: () => '',
    answer: ({ start }) => (start.startsWith('HEAD ') ? okWithoutBody : ok),
    async send(pieces, options = {}) {
      forget()
      const before = origin.connections.length
      const { received, closed } = await talk(edge.port, [pieces].flat(), options)
      await ask({ port: edge.port, path: '/the-next-client' })
      const read = origin.connections.map((connection) => readMessages(connection.received))
      const all = read.flatMap(({ messages }) => messages)
      const requests = all.filter(({ start }) => start !== next)
      if (all.length - requests.length !== 1) throw new Error('the next client was not heard')
      const { messages: answers, rest: leftOver } = readMessages(received)
      return {
        received,
        answers,
        leftOver,
        closed,
        requests,
        bytes: origin.connections.map(({ received }) => received),
        unfinished: read.map(({ rest }) => rest).filter((rest) => rest !== ''),
        opened: origin.connections.length - before,
      }
    },
    async close() {
      await edge.close()
      await origin.close()
    },
  }
  return watched
}

async function talk(
  port: number,
  pieces: readonly string[],
  { leaves, waitsFor = '', enough = 0, isQuick = false }: SendOptions,
): Promise<{ received: string; closed: boolean }> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true })
  const over = Promise.withResolvers<void>()
  let received = ''
  let closed = true
  socket.setEncoding('latin1')
  socket.on('data', (text: string) => {
    received += text
  })
  socket.on('error', () => undefined)
  socket.once('close', over.resolve)
  const giveUp = setTimeout(() => {
    closed = false
    socket.destroy()
  }, openForGoodMs)
  for (const piece of pieces) {
    if (socket.writable) socket.write(piece, 'latin1')
    if (isQuick) await aTurn()
    else if (pieces.length > 1) await aMoment()
    while (!received.includes(waitsFor) && closed && !socket.destroyed) await aMoment()
  }
  for (
    let i = 0;
    leaves && !socket.destroyed && (i === 0 || (i < 10 && answersIn(received) < enough));
    i += 1
  )
    await aMoment()
  if (leaves === 'half-closes') socket.end()
  if (leaves === 'resets') socket.resetAndDestroy()
  await over.promise
  clearTimeout(giveUp)
  return { received, closed }
}

const answersIn = (received: string): number => readMessages(received).messages.length

function aTurn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve)
  })
}

/** Long enough on loopback for what was written to be read. */
function aMoment(): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, 5)
  })
}
