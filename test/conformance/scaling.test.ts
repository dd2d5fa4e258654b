import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, describe, expect, inject, test } from 'vitest'
import { connectPlatform } from '../support/platform.ts'
import { until } from '../support/poll.ts'

const platform = connectPlatform(inject('platform'))
const used = ['cnf-updown', 'cnf-min', 'cnf-raise']

afterAll(() => Promise.all(used.map((name) => platform.remove(name))))

async function readyRevisions(service: string): Promise<string[]> {
  const replicas = await platform.replicas(service)
  return replicas
    .filter(({ state, rung }) => state === 'ready' && rung === 'running')
    .map((each) => each.revision)
}

/** Looks at the ready replicas of a service every 50 ms until `stop`, and answers with every sight of them. */
function watchReady(service: string): { stop(): Promise<string[][]> } {
  const sights: string[][] = []
  let stopped = false
  const watching = (async () => {
    while (!stopped) {
      sights.push(await readyRevisions(service))
      await delay(50)
    }
  })()
  return {
    async stop() {
      stopped = true
      await watching
      return sights
    },
  }
}

describe.concurrent('a service that scales to zero', () => {
  test('goes up, to zero and up again, and no request of either burst fails', async () => {
    const idle = { freezeAfterSeconds: 'never', parkAfterSeconds: 'never', coldAfterSeconds: 1 }
    await platform.deploy('cnf-updown', { concurrency: 1, maxScale: 4, memory: '96Mi', cpu: 0.5, idle })
    for (const round of ['first', 'second']) {
      await until(async () => (await platform.replicas('cnf-updown')).length === 0, {
        timeoutMs: 60_000,
        describe: `the service to be at zero before the ${round} burst`,
      })
      const answers = await Promise.all(
        Array.from({ length: 20 }, () => platform.request('cnf-updown', { path: '/sleep?ms=200' })),
      )
      expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 20 }, () => 200))
      expect(new Set(answers.map((answer) => answer.json().replica)).size).toBeGreaterThan(1)
    }
  })
})

describe.concurrent('minScale', () => {
  test('holds through a deployment: the old replicas stay until as many new ones are ready, then go', async () => {
    await platform.deploy('cnf-min', { minScale: 2, memory: '96Mi' })
    await until(async () => (await readyRevisions('cnf-min')).length === 2, {
      timeoutMs: 60_000,
      describe: 'two replicas to be ready',
    })
    const watch = watchReady('cnf-min')
    await platform.update('cnf-min', { env: { START_DELAY_MS: '1000' } })
    await until(
      async () => (await platform.replicas('cnf-min')).every(({ revision }) => revision === 'cnf-min-00002'),
      {
        timeoutMs: 60_000,
        describe: 'the old replicas to be gone',
      },
    )
    const sights = await watch.stop()
    expect(sights.filter((ready) => ready.length < 2)).toEqual([])
    expect(await readyRevisions('cnf-min')).toEqual(['cnf-min-00002', 'cnf-min-00002'])
  })

  test('that is raised and lowered starts replicas and lets them go without a revision', async () => {
    const idle = { freezeAfterSeconds: 'never', parkAfterSeconds: 'never', coldAfterSeconds: 1 }
    await platform.deploy('cnf-raise', { memory: '96Mi', idle })
    const scaled = async (minScale: number) => {
      await platform.expectApi([202], 'PATCH', '/services/cnf-raise', { minScale })
      await until(async () => (await platform.replicas('cnf-raise')).length === minScale, {
        timeoutMs: 60_000,
        describe: `${minScale} replicas`,
      })
    }
    await scaled(2)
    await until(async () => (await readyRevisions('cnf-raise')).length === 2, {
      describe: 'both to be ready',
    })
    await scaled(0)
    const { body } = await platform.expectApi([200], 'GET', '/services/cnf-raise/revisions')
    expect((body as { items: unknown[] }).items).toHaveLength(1)
  })
})
