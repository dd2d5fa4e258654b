import type { LogLine } from '@berth/contracts'
import { expect, onTestFinished, test } from 'vitest'
import { followReplicas, type LogStart } from './follow-replicas.ts'

/** Replicas whose logs a test writes; a log that is ended is read again when it was written to. */
function setUp(from: LogStart = {}) {
  let ids: string[] | null = []
  const opened: [string, LogStart][] = []
  const logs = new Map<string, { push(line: string | null): void }>()
  const leave = new AbortController()
  onTestFinished(() => leave.abort())

  async function* read(replica: string, start: LogStart): AsyncGenerator<LogLine> {
    opened.push([replica, start])
    const lines: (string | null)[] = []
    let wake = () => {}
    logs.set(replica, { push: (line) => (lines.push(line), wake()) })
    for (;;) {
      while (lines.length === 0) await new Promise<void>((resolve) => (wake = resolve))
      const line = lines.shift()
      if (line === null || line === undefined) return
      yield { at: '2026-01-01T00:00:01.000Z', stream: 'stdout', line, replica }
    }
  }

  const followed = followReplicas({
    replicas: () => Promise.resolve(ids),
    read,
    from,
    signal: leave.signal,
    lookEveryMs: 1,
  })
  const print = async (replica: string, line: string | null) => {
    await expect.poll(() => logs.has(replica)).toBe(true)
    logs.get(replica)?.push(line)
    if (line === null) logs.delete(replica)
  }
  return { followed, opened, print, be: (next: string[] | null) => (ids = next) }
}

const at = Date.parse('2026-01-01T00:00:01.001Z')

test('a replica that starts later is followed too, from its first line', async () => {
  const { followed, opened, print, be } = setUp({ tail: 5 })
  be(['a'])
  const first = followed.next()
  await print('a', 'one')
  expect((await first).value).toMatchObject({ line: 'one' })
  be(['a', 'b'])
  const second = followed.next()
  await print('b', 'two')
  expect((await second).value).toMatchObject({ line: 'two', replica: 'b' })
  expect(opened).toEqual([
    ['a', { tail: 5 }],
    ['b', {}],
  ])
})

test('a replica that was stopped and woke goes on behind its last line', async () => {
  const { followed, opened, print, be } = setUp()
  be(['a'])
  const first = followed.next()
  await print('a', 'one')
  await first
  const second = followed.next()
  await print('a', null)
  await print('a', 'again')
  expect((await second).value).toMatchObject({ line: 'again' })
  expect(opened.at(-1)).toEqual(['a', { sinceMs: at }])
})

test('it ends when there is nothing left to follow', async () => {
  const { followed, print, be } = setUp()
  be(['a'])
  const first = followed.next()
  await print('a', 'one')
  await first
  be(null)
  const end = followed.next()
  await print('a', null)
  expect(await end).toMatchObject({ done: true })
})
