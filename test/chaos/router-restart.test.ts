import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { startLoad } from '../support/load.ts'
import { connectPlatform } from '../support/platform.ts'
import { until } from '../support/poll.ts'

const platform = connectPlatform(inject('platform'))
const service = 'edge-restart'

beforeAll(async () => {
  await platform.deploy(service, { minScale: 1 })
  await platform.waitReady(service)
})
afterAll(() => platform.remove(service))

describe('the router', () => {
  test('is restarted under load without losing a request', async () => {
    const load = startLoad(() => platform.request(service), { lanes: 4 })
    for (let round = 0; round < 3; round += 1) {
      const { pid } = await platform.processStatus('router')
      await platform.restart('router')
      await platform.waitForProcess('router', pid ?? 0)
    }
    const result = await load.stop()
    expect(result.failures).toEqual([])
    expect(result.sent).toBeGreaterThan(50)
  })

  test('killed hard answers again from its table on disk, with nobody to ask', async () => {
    const worker = await platform.signal('worker', 'SIGSTOP')
    try {
      const pid = await platform.signal('router', 'SIGKILL')
      await platform.waitForProcess('router', pid)
      await platform.waitReady(service)
    } finally {
      process.kill(worker, 'SIGCONT')
    }
  })

  test('lets a long request finish while a new one takes over', async () => {
    const long = platform.request(service, { path: '/sleep?ms=4000' })
    await until(async () => {
      const stats = await platform.request(service, { path: '/stats' })
      return stats.json<{ current: number }>().current > 0
    })
    const { pid } = await platform.processStatus('router')
    await platform.restart('router')
    await platform.waitForProcess('router', pid ?? 0)
    expect((await long).status).toBe(200)
  })
})
