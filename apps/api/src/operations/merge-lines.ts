import type { LogLine } from '@berth/contracts'

/**
 * One stream in the order of time out of several that are each in order. Holds one line of each.
 */
export async function* mergeByTime(sources: readonly AsyncIterable<LogLine>[]): AsyncGenerator<LogLine> {
  const open = sources.map((source) => source[Symbol.asyncIterator]())
  try {
    const heads = await Promise.all(open.map(async (lines) => ({ lines, next: await lines.next() })))
    for (;;) {
      const waiting = heads.filter(({ next }) => next.done !== true)
      const [first, ...others] = waiting
      if (first === undefined) return
      const oldest = others.reduce((best, head) => (timeOf(head) < timeOf(best) ? head : best), first)
      yield oldest.next.value as LogLine
      oldest.next = await oldest.lines.next()
    }
  } finally {
    await closeAll(open)
  }
}

/** One stream of several as their lines come; asks each for its next line only when the last was taken. */
export async function* mergeAsTheyCome(sources: readonly AsyncIterable<LogLine>[]): AsyncGenerator<LogLine> {
  const open = sources.map((source) => source[Symbol.asyncIterator]())
  const pending = new Map(open.map((lines) => [lines, advance(lines)]))
  try {
    while (pending.size > 0) {
      const { lines, next } = await Promise.race(pending.values())
      if (next.done === true) {
        pending.delete(lines)
        continue
      }
      pending.set(lines, advance(lines))
      yield next.value
    }
  } finally {
    await closeAll(open)
  }
}

/** The last `count` lines. */
export async function* lastLines(lines: AsyncIterable<LogLine>, count: number): AsyncGenerator<LogLine> {
  const kept: LogLine[] = []
  for await (const line of lines) {
    kept.push(line)
    if (kept.length > count * 2 + 1) kept.splice(0, kept.length - count)
  }
  yield* count === 0 ? [] : kept.slice(-count)
}

type Head = { next: IteratorResult<LogLine> }

function timeOf({ next }: Head): string {
  return next.done === true ? '' : next.value.at
}

async function advance(lines: AsyncIterator<LogLine>) {
  return { lines, next: await lines.next() }
}

/** Not awaited one by one: a follower returns only when its signal has ended what it waits for. */
async function closeAll(open: readonly AsyncIterator<LogLine>[]): Promise<void> {
  await Promise.allSettled(open.map((lines) => Promise.resolve(lines.return?.())))
}
