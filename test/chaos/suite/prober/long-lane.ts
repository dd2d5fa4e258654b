import { setTimeout as delay } from 'node:timers/promises'
import { messageOf } from '../../../../infra/src/failure.ts'
import type { Book } from './book.ts'
import { exchange } from './exchange.ts'
import type { ExchangeKind } from './tally.ts'
import { slackMs, type Target } from './target.ts'

/** Long enough to keep a service that refuses everything from being asked all the time. */
const pauseMs = 100
const eventEveryMs = 100

/** Something that takes long, one at a time. `rest` lets the one under way end and starts no other until `go`. */
export type LongLane = { rest(): void; go(): void; stop(): void }

/** One request at a time that the app answers after `slowMs`. */
export function startSlowRequests(target: Target, book: Book): LongLane {
  return startLane('slow request', book, async () => {
    const path = `/sleep?ms=${target.slowMs}`
    const text = await exchange(target, { path, agent: false, timeoutMs: target.slowMs + slackMs })
    const { slept } = JSON.parse(text) as { slept?: number }
    if (slept !== target.slowMs) throw new Error(`200 that slept ${slept} ms`)
  })
}

/** One stream of server-sent events at a time, each event with its number. */
export function startEventStreams(target: Target, book: Book): LongLane {
  const expected = Array.from({ length: target.events }, (_, index) => index).join()
  return startLane('event stream', book, async () => {
    const path = `/events?count=${target.events}&ms=${eventEveryMs}`
    const timeoutMs = target.events * eventEveryMs + slackMs
    const text = await exchange(target, { path, agent: false, timeoutMs })
    const heard = [...text.matchAll(/^data: \{"index":(\d+)\}$/gm)].map(([, index]) => index).join()
    if (heard !== expected)
      throw new Error(`the stream ended cleanly after ${heard.split(',').length} events`)
  })
}

function startLane(kind: ExchangeKind, book: Book, once: () => Promise<void>): LongLane {
  let stopped = false
  let resting = false
  const run = async () => {
    while (!stopped) {
      if (!resting) {
        const entry = book.enter(kind)
        await once().then(
          () => entry.succeed(),
          (error: unknown) => entry.fail(messageOf(error)),
        )
      }
      await delay(pauseMs)
    }
  }
  void run()
  return {
    rest: () => (resting = true),
    go: () => (resting = false),
    stop: () => (stopped = true),
  }
}
