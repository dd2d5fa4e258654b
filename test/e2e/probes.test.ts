import { afterAll, describe, expect, inject, test } from 'vitest'
import { startLoad } from '../support/load.ts'
import { connectPlatform } from '../support/platform.ts'
import { until } from '../support/poll.ts'

const platform = connectPlatform(inject('platform'))
const everySecond = { httpGet: { path: '/healthz' }, periodSeconds: 1, failureThreshold: 2 }
const waiting = { timeoutMs: 60_000, intervalMs: 50 }

afterAll(async () => {
  for (const name of ['prb-ready', 'prb-live']) await platform.remove(name)
})

async function deployPair(name: string, spec: Record<string, unknown>) {
  await platform.deploy(name, { minScale: 2, maxScale: 2, ...spec })
  return until(
    async () => {
      const replicas = await platform.replicas(name)
      return replicas.filter(({ state }) => state === 'ready').length === 2 && replicas
    },
    { ...waiting, describe: `two replicas of ${name} to be ready` },
  )
}

/** Requests as steady as one machine gives them, each over before the app is asked for the next. */
const loadOn = (name: string) =>
  startLoad(() => platform.request(name, { path: '/sleep?ms=20' }), { lanes: 4 })

describe('under traffic, one of two replicas', () => {
  test('that is not ready for a while leaves and comes back as it was, and no request fails', async () => {
    const before = await deployPair('prb-ready', { readinessProbe: everySecond })
    const load = loadOn('prb-ready')
    await platform.request('prb-ready', { path: '/unready?ms=8000' })
    await until(
      async () => (await platform.replicas('prb-ready')).some(({ reason }) => reason === 'ProbeFailed'),
      { ...waiting, describe: 'a replica to be called not ready' },
    )
    const answers = await Promise.all(
      Array.from({ length: 40 }, () => platform.request('prb-ready', { path: '/stats' })),
    )
    const answering = new Set(answers.map((answer) => answer.json<{ replica: string }>().replica))
    expect(answering.size).toBe(1)
    await until(async () => (await platform.replicas('prb-ready')).every(({ reason }) => reason === null), {
      ...waiting,
      describe: 'both replicas to be ready',
    })
    const { sent, failures } = await load.stop()
    expect(failures).toEqual([])
    expect(sent).toBeGreaterThan(100)
    const after = await platform.replicas('prb-ready')
    const known = (replicas: typeof after) =>
      replicas.map(({ id, containers }) => ({ id, containers })).toSorted(byId)
    expect(known(after)).toEqual(known(before))
    expect(after.map(({ restarts }) => restarts)).toEqual([0, 0])
  })

  test('whose liveness probe fails is restarted in its place, and no request fails', async () => {
    const before = await deployPair('prb-live', { livenessProbe: everySecond })
    const load = loadOn('prb-live')
    await platform.request('prb-live', { path: '/unready' })
    const after = await until(
      async () => {
        const replicas = await platform.replicas('prb-live')
        const again = replicas.some(({ state, restarts }) => state === 'ready' && restarts === 1)
        return again && replicas
      },
      { ...waiting, describe: 'a replica to be ready again after its restart' },
    )
    const { sent, failures } = await load.stop()
    expect(failures).toEqual([])
    expect(sent).toBeGreaterThan(100)
    const places = (replicas: typeof after) =>
      replicas.map(({ id, node, port }) => ({ id, node, port })).toSorted(byId)
    expect(places(after)).toEqual(places(before))
  })
})

function byId(one: { id: string }, other: { id: string }): number {
  return one.id < other.id ? -1 : 1
}
