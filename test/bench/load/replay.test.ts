import { afterEach, expect, test } from 'vitest'
import { type App, listen, startApp } from './app.ts'
import { ExactTimers } from './exact-timers.ts'
import { replay, smallAnswer } from './replay.ts'
import { steady } from './schedule.ts'

let app: App | undefined

afterEach(() => app?.close())

test('a request that had to wait for an app that stood still is counted from its scheduled time', async () => {
  const standsStillMs = 200
  let stoodStill = false
  app = await startApp((_path, answer) => {
    // The whole process: no client can send meanwhile either.
    const until = performance.now() + (stoodStill ? 0 : standsStillMs)
    stoodStill = true
    while (performance.now() < until);
    answer(smallAnswer)
  })
  const { latenciesMs } = await replay(steady(100, 0.1), { port: app.port, timers: new ExactTimers() })
  expect(latenciesMs).toHaveLength(10)
  for (const [index, latency] of latenciesMs.entries())
    expect(latency).toBeGreaterThanOrEqual(standsStillMs - index * 10 - 1)
})

test('requests are sent at their time although earlier ones have no answer yet', async () => {
  const held: (() => void)[] = []
  app = await startApp((_path, answer) => {
    held.push(() => answer(smallAnswer))
    if (held.length === 5) for (const release of held) release()
  })
  const { latenciesMs } = await replay(steady(100, 0.05), {
    port: app.port,
    timers: new ExactTimers(),
    connections: 1,
  })
  expect([...latenciesMs].every((latency) => latency >= 0)).toBe(true)
})

test('who leaves has no latency, and neither has who is answered with an error', async () => {
  app = await startApp((path, answer) => {
    if (path === '/1') answer(Buffer.from('HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n'))
    if (path === '/2') answer(smallAnswer)
  })
  const { latenciesMs } = await replay(steady(100, 0.03), {
    port: app.port,
    timers: new ExactTimers(),
    pathOf: (index) => `/${index}`,
    leavesAfter: (index) => (index === 0 ? 20 : undefined),
  })
  expect([...latenciesMs].map(Number.isNaN)).toEqual([true, true, false])
})

test('a free connection that the other side has closed is not used', async () => {
  const closesAfterMs = 30
  let connections = 0
  app = await listen((socket) => {
    connections += 1
    socket.on('data', () => socket.write(smallAnswer))
    setTimeout(() => socket.end(), closesAfterMs)
  })
  const schedule = Float64Array.from([0, 400])
  const { latenciesMs } = await replay(schedule, {
    port: app.port,
    timers: new ExactTimers(),
    connections: 2,
  })
  expect([...latenciesMs].every((latency) => latency >= 0)).toBe(true)
  expect(connections).toBe(3)
})
