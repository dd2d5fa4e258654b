import { WebSocket } from 'ws'
import { nowMs } from '../clock.ts'
import type { Book, Entry } from './book.ts'
import type { LongLane } from './long-lane.ts'
import type { Target } from './target.ts'

const messageEveryMs = 100
const echoWithinMs = 5000
const openWithinMs = 10_000
const again = 100

/** Close codes with which a peer may end a WebSocket in good order: normal, going away, service restart. */
const orderly: ReadonlySet<number> = new Set([1000, 1001, 1012])

/**
 * One WebSocket at a time with a numbered message every 100 ms, each of which must come back. A connection that is
 * closed in order is opened again, and what was under way on it counts neither way; one that breaks loses the messages
 * under way, or counts as one failure.
 */
export function startWebSocket(target: Target, book: Book): LongLane {
  let stopped = false
  let resting = false
  let socket: WebSocket | undefined

  function connect(): void {
    if (stopped) return
    if (resting) return void setTimeout(connect, again)
    socket = holdConversation(target, book, {
      resting: () => resting,
      onOver: () => setTimeout(connect, again),
    })
  }

  connect()
  return {
    rest() {
      resting = true
      if (socket?.readyState === WebSocket.OPEN) socket.close(1000)
    },
    go: () => (resting = false),
    stop() {
      stopped = true
      socket?.terminate()
    },
  }
}

function holdConversation(
  target: Target,
  book: Book,
  { resting, onOver }: { resting: () => boolean; onOver: () => void },
): WebSocket {
  const openedAt = nowMs()
  const socket = new WebSocket(`ws://127.0.0.1:${target.port}/`, {
    headers: { host: target.host },
    handshakeTimeout: openWithinMs,
  })
  const opening = book.enter('websocket', openedAt)
  const expected: { text: string; entry: Entry; timer: NodeJS.Timeout }[] = []
  let number = 0
  let opened = false

  const speak = setInterval(() => {
    if (socket.readyState !== WebSocket.OPEN) return
    const text = String((number += 1))
    const entry = book.enter('websocket', openedAt)
    const timer = setTimeout(() => {
      entry.fail(`no echo in ${echoWithinMs} ms`)
      socket.terminate()
    }, echoWithinMs)
    expected.push({ text, entry, timer })
    socket.send(text)
  }, messageEveryMs)

  socket.on('open', () => {
    opened = true
    opening.succeed()
    if (resting()) socket.close(1000)
  })
  socket.on('message', (data: Buffer) => {
    const next = expected.shift()
    clearTimeout(next?.timer)
    if (data.toString() === next?.text) next.entry.succeed()
    else next?.entry.fail(`echo ${data.toString()} instead of ${next.text}`)
  })
  socket.on('error', (error) => opening.fail(`WebSocket: ${error.message}`))
  socket.on('close', (code) => {
    clearInterval(speak)
    opening.fail(`closed with ${code} before it was open`)
    for (const { entry, timer } of expected) {
      clearTimeout(timer)
      if (orderly.has(code)) entry.drop()
      else entry.fail(`closed with ${code} before the echo`)
    }
    if (opened && !orderly.has(code) && expected.length === 0)
      book.enter('websocket', openedAt).fail(`closed with ${code}`)
    onOver()
  })
  return socket
}
