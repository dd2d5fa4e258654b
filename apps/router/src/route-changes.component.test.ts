import { once } from 'node:events'
import { Agent, request, type IncomingMessage } from 'node:http'
import { expect, test } from 'vitest'
import { startApp, startEdge } from './testing/edge.ts'
import { aReplica, aRevision } from './testing/routes.ts'

const changesPerSecond = 1000
const seconds = 3

test('a thousand changes of its route per second cost a service no request', async () => {
  const apps = await Promise.all(
    [0, 1, 2].map(() => startApp((_request, response) => setTimeout(() => response.end('ok'), 1))),
  )
  const ports = apps.map(({ port }) => port)
  // Every change takes one of three replicas out, which is still busy, and puts another one in.
  const routeNow = (turn: number) =>
    aRevision({ replicas: ports.filter((_, i) => i !== turn % 3).map((port) => aReplica(`r-${port}`, port)) })
  const edge = await startEdge({ revisions: [routeNow(0)] })
  const agent = new Agent({ keepAlive: true })
  let changes = 0
  const beganAt = performance.now()
  const changing = setInterval(() => {
    const due = Math.min(
      changesPerSecond * seconds,
      ((performance.now() - beganAt) / 1000) * changesPerSecond,
    )
    while (changes < due) {
      changes += 1
      edge.change(routeNow(changes))
    }
  }, 1)
  const statuses: Record<string, number> = {}
  const lane = async () => {
    while (changes < changesPerSecond * seconds) {
      const asked = request({ port: edge.port, agent, headers: { host: 'hello.localhost' } }).end()
      const [answer] = (await once(asked, 'response')) as [IncomingMessage]
      await once(answer.resume(), 'end')
      statuses[answer.statusCode ?? 0] = (statuses[answer.statusCode ?? 0] ?? 0) + 1
    }
  }
  await Promise.all(Array.from({ length: 16 }, lane))
  clearInterval(changing)
  expect(Object.keys(statuses)).toEqual(['200'])
  expect(statuses['200']).toBeGreaterThan(30)
  expect(edge.leader.last('acknowledge')?.version.sequence).toBeGreaterThan(100)
  agent.destroy()
  await edge.close()
  await Promise.all(apps.map((app) => app.close()))
})
