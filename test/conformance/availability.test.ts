import { afterAll, describe, expect, inject, test } from 'vitest'
import { startLoad } from '../support/load.ts'
import { connectPlatform } from '../support/platform.ts'
import { until } from '../support/poll.ts'

const platform = connectPlatform(inject('platform'))
const used = ['cnf-warm', 'cnf-asleep', 'cnf-after', 'cnf-leader']

afterAll(() => Promise.all(used.map((name) => platform.remove(name))))

describe('kill -9 of the only worker', () => {
  test('fails no request of a warm service, a cold one still wakes, and a new one can be deployed', async () => {
    const idle = { freezeAfterSeconds: 'never', parkAfterSeconds: 'never', coldAfterSeconds: 1 }
    await Promise.all([platform.deploy('cnf-warm', { minScale: 1 }), platform.deploy('cnf-asleep', { idle })])
    await until(async () => (await platform.replicas('cnf-asleep')).length === 0, {
      timeoutMs: 60_000,
      describe: 'the second service to be cold',
    })
    const load = startLoad(() => platform.request('cnf-warm'), { lanes: 2 })
    const pid = await platform.signal('worker', 'SIGKILL')
    // On a busy machine the worker may take longer to be back than the router lets a request wait (503 then).
    await platform.waitReady('cnf-asleep')
    await platform.waitForProcess('worker', pid)
    expect(await platform.deploy('cnf-after')).toMatchObject({ phase: 'succeeded' })
    const result = await load.stop()
    expect(result.failures).toEqual([])
    expect(result.sent).toBeGreaterThan(20)
  })
  test('a service still goes from none to three replicas within a minute, and so does its next revision', async () => {
    const idle = { freezeAfterSeconds: 'never', parkAfterSeconds: 'never', coldAfterSeconds: 1 }
    await platform.deploy('cnf-leader', { idle, concurrency: 1, memory: '64Mi' })
    const replicas = () => platform.replicas('cnf-leader')
    const none = { timeoutMs: 60_000, describe: 'the service to be cold' }
    await until(async () => (await replicas()).length === 0, none)
    await platform.signal('worker', 'SIGKILL')
    await threeReady('cnf-leader-00001')
    await platform.update('cnf-leader', { env: { MESSAGE: 'next' } })
    await threeReady('cnf-leader-00002')
    expect((await platform.request('cnf-leader')).json()).toMatchObject({ message: 'next' })

    /** As long as three requests are there at a time. Those that no leader wakes for in time are asked again. */
    async function threeReady(revision: string): Promise<void> {
      const load = startLoad(() => platform.request('cnf-leader', { path: '/sleep?ms=500' }), { lanes: 4 })
      await until(
        async () => {
          const ready = (await replicas()).filter(
            (each) => each.state === 'ready' && each.revision === revision,
          )
          return ready.length >= 3
        },
        { timeoutMs: 60_000, describe: `three replicas of ${revision}` },
      )
      await load.stop()
    }
  })
})
