import { createHash, randomBytes } from 'node:crypto'
import { Agent } from 'node:http'
import { messageOf } from '../../../../infra/src/failure.ts'
import type { Book } from './book.ts'
import { exchange } from './exchange.ts'
import type { ExchangeKind } from './tally.ts'
import { shortTimeoutMs, type Target } from './target.ts'

const tickMs = 5
/** What is not sent because so much is under way counts as failed: the load stays bounded. */
const maxUnderWay = 3000
const bodyBytes = 2048

/** Of ten requests seven are GETs on kept connections, two open a connection of their own, one is a POST. */
const pattern: readonly ExchangeKind[] = [
  'keep-alive',
  'new connection',
  'keep-alive',
  'keep-alive',
  'post',
  'keep-alive',
  'new connection',
  'keep-alive',
  'keep-alive',
  'keep-alive',
]

/**
 * Short requests by a fixed schedule (an open loop): number n is due n / rate after the start, whether or not the
 * others were answered. Returns how to stop.
 */
export function startShortLane(target: Target, book: Book): () => void {
  const agent = new Agent({ keepAlive: true, scheduling: 'fifo', maxFreeSockets: 64 })
  const startedAt = performance.now()
  let sent = 0
  const timer = setInterval(() => {
    const elapsed = performance.now() - startedAt
    const due = Math.floor((elapsed * target.perSecond) / 1000)
    if (due > sent) book.lag(elapsed - (sent * 1000) / target.perSecond)
    for (; sent < due; sent += 1) send(target, book, agent, sent)
  }, tickMs)
  return () => {
    clearInterval(timer)
    agent.destroy()
  }
}

function send(target: Target, book: Book, agent: Agent, number: number): void {
  const kind = pattern[number % pattern.length] ?? 'keep-alive'
  const entry = book.enter(kind)
  if (book.underWay > maxUnderWay) return entry.fail(`not sent: ${maxUnderWay} requests are under way`)
  const body = kind === 'post' ? randomBytes(bodyBytes) : undefined
  const path = `/probe?number=${number}`
  exchange(target, {
    path,
    agent: kind === 'new connection' ? false : agent,
    timeoutMs: shortTimeoutMs,
    ...(body === undefined ? {} : { method: 'POST', body }),
  }).then(
    (text) => {
      const { wrong, replica } = checkEcho(text, { path, service: target.service, body })
      if (wrong === undefined) entry.succeed(replica)
      else entry.fail(wrong)
    },
    (error: unknown) => entry.fail(messageOf(error)),
  )
}

type Echo = { url: string; service: string; method: string; bodySha256: string; replica: string }

/** Compares what the app says it was asked with what was asked; `wrong` says what differs. */
export function checkEcho(
  text: string,
  asked: { path: string; service: string; body: Buffer | undefined },
): { wrong?: string; replica?: string } {
  let echo: Partial<Echo>
  try {
    echo = JSON.parse(text) as Partial<Echo>
  } catch {
    return { wrong: `200 with a body that is no JSON: ${text.slice(0, 100)}` }
  }
  const expected = {
    url: asked.path,
    service: asked.service,
    method: asked.body === undefined ? 'GET' : 'POST',
    bodySha256: createHash('sha256')
      .update(asked.body ?? '')
      .digest('hex'),
  }
  for (const [name, value] of Object.entries(expected)) {
    const found = echo[name as keyof Echo]
    if (found !== value) return { wrong: `200 with ${name} ${String(found)} instead of ${value}` }
  }
  return echo.replica === undefined ? { wrong: '200 of nobody' } : { replica: echo.replica }
}
