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

/**
 * One stream of several as their lines come, and as sources come; asks each for its next line only when the last was
 * taken. Ends when there is no source left to come and all have ended.
 */
export async function* mergeAsTheyCome(
  sources: AsyncIterable<AsyncIterable<LogLine>>,
): AsyncGenerator<LogLine> {
  const coming = sources[Symbol.asyncIterator]()
  const open = new Set<AsyncIterator<LogLine>>()
  /** What is waited for; each resolves with what to do then, which gives the line that came. */
  const pending = new Map<object, Promise<() => LogLine | undefined>>()

  async function nextSource(): Promise<() => LogLine | undefined> {
    const next = await coming.next()
    return () => {
      if (next.done === true) return void pending.delete(coming)
      const lines = next.value[Symbol.asyncIterator]()
      open.add(lines)
      pending.set(lines, nextLine(lines))
      pending.set(coming, nextSource())
      return undefined
    }
  }

  async function nextLine(lines: AsyncIterator<LogLine>): Promise<() => LogLine | undefined> {
    const next = await lines.next()
    return () => {
      if (next.done !== true) {
        pending.set(lines, nextLine(lines))
        return next.value
      }
      open.delete(lines)
      return void pending.delete(lines)
    }
  }

  pending.set(coming, nextSource())
  try {
    while (pending.size > 0) {
      const line = (await Promise.race(pending.values()))()
      if (line !== undefined) yield line
    }
  } finally {
    await closeAll([coming, ...open])
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

/** Not awaited one by one: a follower returns only when its signal has ended what it waits for. */
async function closeAll(open: readonly AsyncIterator<unknown>[]): Promise<void> {
  await Promise.allSettled(open.map((lines) => Promise.resolve(lines.return?.())))
}
