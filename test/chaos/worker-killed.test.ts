import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, describe, expect, inject, test } from 'vitest'
import { connectPlatform, type ServiceBody } from '../support/platform.ts'
import { until } from '../support/poll.ts'
import { settledWithinMs, waitUntilSettled } from './settled.ts'

const platform = connectPlatform(inject('platform'))
const { testImage } = platform.connection
const service = 'kill-worker'

afterAll(() => platform.remove(service))

/** Moments after POST at which the worker is killed, spread over the time a deployment takes. */
const moments = [0, 5, 10, 20, 30, 45, 60, 80, 100, 130, 160, 200, 250, 300, 350, 400, 500, 600, 800, 1000]

/** When the process that takes the place of `pid` was up, on the clock of `performance.now()`. */
async function startOfNext(name: string, pid: number): Promise<number> {
  await until(
    async () => {
      const status = await platform.processStatus(name)
      return status.pid !== null && status.pid !== pid
    },
    { timeoutMs: 60_000, describe: `${name} to be started again` },
  )
  return performance.now()
}

describe('kill -9 of the worker in the middle of a deployment', () => {
  test.each(moments)(
    '%d ms after the request: within 15 s of the restart it has succeeded, with exactly the wanted containers',
    async (ms) => {
      const spec = {
        name: service,
        image: testImage,
        memory: '96Mi',
        minScale: 1,
        env: { ROUND: String(ms) },
      }
      const { body } = await platform.expectApi([202], 'PUT', `/services/${service}`, spec)
      const id = (body as ServiceBody).deployment?.id ?? ''
      await delay(ms)
      const pid = await platform.signal('worker', 'SIGKILL')
      const upAt = await startOfNext('worker', pid)
      const deployment = await platform.waitForDeployment(id)
      expect(deployment).toMatchObject({ phase: 'succeeded' })
      await waitUntilSettled(platform, service, { count: 1, revision: deployment.revision })
      expect(performance.now() - upAt).toBeLessThan(settledWithinMs)
      const answer = await platform.waitReady(service)
      expect(answer.json()).toMatchObject({ revision: deployment.revision })
    },
  )
})
