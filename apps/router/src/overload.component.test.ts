import { expect, test } from 'vitest'
import { ask, startApp, startEdge, type Answer } from './testing/edge.ts'
import { aReplica, aRevision } from './testing/routes.ts'

const serviceMs = 20
const queueDeadlineMs = 2000
const everyMs = serviceMs / 3
const pause = (ms: number) =>
  new Promise((resolve) => {
    setTimeout(resolve, ms)
  })

test('at three times the load an app stays busy, and what it cannot do is refused long before its deadline', async () => {
  const app = await startApp((_request, response) => setTimeout(() => response.end('done'), serviceMs))
  const busy = { atMaxScale: true, concurrency: 1, queueDeadlineMs }
  const edge = await startEdge({ revisions: [aRevision({ ...busy, replicas: [aReplica('r1', app.port)] })] })
  const asked: Promise<Answer & { ms: number }>[] = []
  const beganAt = performance.now()
  // A fixed schedule: whether or not the ones before were answered.
  for (let i = 0; i * everyMs < 6000; i += 1) {
    const late = beganAt + i * everyMs - performance.now()
    if (late > 0) await pause(late)
    const at = performance.now()
    asked.push(ask({ port: edge.port }).then((answer) => ({ ...answer, ms: performance.now() - at })))
  }
  const answers = await Promise.all(asked)
  const served = answers.filter(({ status }) => status === 200)
  const refused = answers.filter(({ status }) => status === 429)
  expect(served.length + refused.length).toBe(answers.length)
  // The queue was never empty, so the app was never idle.
  expect(served.length).toBeGreaterThan(answers.length / 6)
  const atOnce = refused.filter(({ ms }) => ms < queueDeadlineMs / 2)
  expect(atOnce.length).toBeGreaterThan(refused.length * 0.8)
  for (const { headers } of refused) expect(headers['retry-after']).toBe('1')
  expect((await ask({ port: edge.port })).status).toBe(200)
  await edge.close()
  await app.close()
})
