import { Agent, request } from 'node:http'
import { afterEach, expect, test, vi } from 'vitest'
import { startApp, startEdge, type App, type Edge } from './testing/edge.ts'
import { aHost, aReplica, aRevision } from './testing/routes.ts'
import { seeded, statisticalError } from './testing/seeded.ts'

let edge: Edge | undefined
const apps: App[] = []

afterEach(async () => {
  vi.restoreAllMocks()
  await edge?.close()
  edge = undefined
  await Promise.all(apps.splice(0).map((app) => app.close()))
})

async function anApp(name: string): Promise<number> {
  const app = await startApp((_request, response) => response.end(name))
  apps.push(app)
  return app.port
}

/** The bodies of `count` answers, asked for over 32 connections, and how often each came. */
async function answers(port: number, count: number): Promise<Map<string, number>> {
  const agent = new Agent({ keepAlive: true, maxSockets: 32 })
  const counts = new Map<string, number>()
  const one = () =>
    new Promise<void>((resolve, reject) => {
      const outgoing = request({ host: '127.0.0.1', port, agent, headers: { host: 'hello.localhost' } })
      outgoing.once('error', reject)
      outgoing.once('response', (incoming) => {
        incoming.once('data', (body: Buffer) => {
          const text = body.toString()
          counts.set(text, (counts.get(text) ?? 0) + 1)
        })
        incoming.once('end', resolve)
        incoming.resume()
      })
      outgoing.end()
    })
  await Promise.all(Array.from({ length: count }, one))
  agent.destroy()
  return counts
}

test.each([
  ['one replica against five', 1, 5],
  ['five replicas against one', 5, 1],
])(
  'a split of 80, 19 and 1 holds over 10,000 requests with %s',
  async (_what, few, many) => {
    vi.spyOn(Math, 'random').mockImplementation(seeded(7))
    const names = ['first', 'second', 'third']
    const sizes = [few, many, 1]
    const ports = await Promise.all(names.map(anApp))
    const revisions = names.map((name, index) =>
      aRevision({
        uid: `rev-${name}`,
        replicas: Array.from({ length: sizes[index] ?? 0 }, (_, n) =>
          aReplica(`${name}-${n}`, ports[index] ?? 0),
        ),
      }),
    )
    const shares = [80, 19, 1]
    const targets = revisions.map(({ uid }, index) => ({ revision: uid, percent: shares[index] ?? 0 }))
    edge = await startEdge({ hosts: [aHost({ targets })], revisions })
    const requests = 10_000
    const counts = await answers(edge.port, requests)
    names.forEach((name, index) => {
      const share = (shares[index] ?? 0) / 100
      const strays = Math.abs((counts.get(name) ?? 0) - requests * share)
      expect(strays, name).toBeLessThan(statisticalError(requests, share))
    })
  },
  120_000,
)
