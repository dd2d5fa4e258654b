import { afterAll, describe, expect, inject, test } from 'vitest'
import { connectPlatform } from '../support/platform.ts'
import { until } from '../support/poll.ts'

const platform = connectPlatform(inject('platform'))
const idle = { freezeAfterSeconds: 'never', parkAfterSeconds: 2, coldAfterSeconds: 3 }
const timeoutMs = 120_000

afterAll(async () => {
  for (const name of ['scl-one', 'scl-many', 'scl-spread']) await platform.remove(name)
})

async function waitUntilCold(service: string): Promise<void> {
  await until(async () => (await platform.replicas(service)).length === 0, {
    timeoutMs: 90_000,
    describe: `${service} to be cold`,
  })
}

/** Sends `count` requests at once and watches how many replicas there are meanwhile. */
async function burst(service: string, count: number, path: string) {
  let most = 0
  let done = false
  const watching = (async () => {
    while (!done) {
      most = Math.max(most, (await platform.replicas(service)).length)
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  })()
  const answers = await Promise.all(
    Array.from({ length: count }, () => platform.request(service, { path, timeoutMs })),
  )
  done = true
  await watching
  const refused = answers.filter((answer) => answer.status !== 200).map((answer) => answer.text())
  return {
    refused,
    most,
    replicas: new Set(answers.map((answer) => answer.json<{ replica: string }>().replica)),
  }
}

/** The most requests that any replica which is still there has seen at once. */
async function mostAtOnce(service: string): Promise<number> {
  const seen = await Promise.all(
    Array.from({ length: 20 }, () => platform.request(service, { path: '/stats' })),
  )
  return Math.max(...seen.map((answer) => answer.json<{ maximum: number }>().maximum))
}

describe('a burst against zero replicas', () => {
  test('of 100 requests at concurrency 1 is answered whole, one at a time in each replica', async () => {
    await platform.deploy('scl-one', { concurrency: 1, maxScale: 10, memory: '96Mi', cpu: 0.5, idle })
    await waitUntilCold('scl-one')
    const { refused, most } = await burst('scl-one', 100, '/sleep?ms=300')
    expect(refused).toEqual([])
    expect(most).toBeLessThanOrEqual(10)
    expect(await mostAtOnce('scl-one')).toBe(1)
  })

  test('of 1,000 requests at concurrency 20 is answered whole', async () => {
    await platform.deploy('scl-many', { concurrency: 20, maxScale: 10, memory: '96Mi', cpu: 0.5, idle })
    await waitUntilCold('scl-many')
    const { refused, most } = await burst('scl-many', 1000, '/sleep?ms=300')
    expect(refused).toEqual([])
    expect(most).toBeLessThanOrEqual(10)
    expect(await mostAtOnce('scl-many')).toBeLessThanOrEqual(20)
  })
})

describe('load', () => {
  test('spreads the replicas of a service over all nodes, and they go when it ends', async () => {
    await platform.deploy('scl-spread', { concurrency: 1, maxScale: 6, memory: '96Mi', cpu: 0.5, idle })
    const stop = { now: false }
    const lanes = Array.from({ length: 6 }, async () => {
      while (!stop.now) await platform.request('scl-spread', { path: '/sleep?ms=200', timeoutMs })
    })
    await until(
      async () => {
        const replicas = await platform.replicas('scl-spread')
        const nodes = new Set(replicas.filter((each) => each.state === 'ready').map((each) => each.node))
        if (nodes.size < 3) throw new Error(replicas.map((each) => `${each.node} ${each.state}`).join(', '))
        return true
      },
      { timeoutMs: 90_000, describe: 'replicas on three nodes' },
    )
    stop.now = true
    await Promise.all(lanes)
    await waitUntilCold('scl-spread')
  })
})
