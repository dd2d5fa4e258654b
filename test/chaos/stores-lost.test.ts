import { Redis } from 'ioredis'
import { afterAll, describe, expect, inject, test } from 'vitest'
import { startLoad } from '../support/load.ts'
import { connectPlatform } from '../support/platform.ts'
import { until } from '../support/poll.ts'
import { settledWithinMs, waitUntilSettled } from './settled.ts'

const platform = connectPlatform(inject('platform'))
const never = { freezeAfterSeconds: 'never', parkAfterSeconds: 'never', coldAfterSeconds: 'never' }
const freezing = { freezeAfterSeconds: 1, parkAfterSeconds: 'never', coldAfterSeconds: 'never' }
const names = ['out-flush', 'out-later', 'out-redis', 'out-pg', 'out-warm', 'out-api']

afterAll(async () => {
  for (const name of names) await platform.remove(name)
})

async function deployFrozen(name: string): Promise<void> {
  await platform.deploy(name, { idle: freezing })
  await until(async () => (await platform.replicas(name))[0]?.rung === 'frozen', {
    timeoutMs: 90_000,
    describe: `${name} to be frozen`,
  })
}

/** Stops a process for as long as `work` takes, as if its host had hung. */
async function whileStopped(process: string, work: () => Promise<void>): Promise<void> {
  await platform.signal(process, 'SIGSTOP')
  try {
    await work()
  } finally {
    await platform.signal(process, 'SIGCONT')
  }
}

async function healthyAgain(): Promise<void> {
  await until(async () => (await platform.api('GET', '/services')).status === 200, {
    timeoutMs: 90_000,
    describe: 'the API to answer again',
  })
}

describe('FLUSHALL in Redis', () => {
  test('loses nothing: within 15 s all that is desired is there, with exactly the wanted containers', async () => {
    await platform.deploy('out-flush', { idle: never })
    const redis = new Redis(platform.connection.redisUrl)
    const body = { name: 'out-later', image: platform.connection.testImage, memory: '96Mi' }
    const { body: created } = await platform.expectApi([202], 'POST', '/services', body)
    await redis.flushall()
    const flushedAt = performance.now()
    redis.disconnect()
    const { deployment } = created as { deployment: { id: string } }
    expect(await platform.waitForDeployment(deployment.id)).toMatchObject({ phase: 'succeeded' })
    for (const name of ['out-flush', 'out-later']) await waitUntilSettled(platform, name, { count: 1 })
    expect(performance.now() - flushedAt).toBeLessThan(settledWithinMs)
    expect((await platform.waitReady('out-later')).status).toBe(200)
    expect((await platform.waitReady('out-flush')).status).toBe(200)
  })
})

describe('a frozen service answers', () => {
  test('with Redis hung', async () => {
    await deployFrozen('out-redis')
    await whileStopped('redis', async () => {
      expect((await platform.request('out-redis')).status).toBe(200)
    })
    await healthyAgain()
  })

  test('with Postgres hung', async () => {
    await deployFrozen('out-pg')
    // Its children serve; the postmaster alone would leave them running.
    const pid = (await platform.processStatus('postgres')).pid ?? 0
    const family = await platform.processFamily(pid)
    for (const member of family) process.kill(member, 'SIGSTOP')
    try {
      expect((await platform.request('out-pg')).status).toBe(200)
    } finally {
      for (const member of family.toReversed()) process.kill(member, 'SIGCONT')
    }
    await healthyAgain()
  })
})

describe('traffic to a warm service', () => {
  test('fails no request while API, worker, Postgres and Redis are killed and come back', async () => {
    await platform.deploy('out-warm', { idle: never, minScale: 1 })
    await platform.waitReady('out-warm')
    const load = startLoad(() => platform.request('out-warm'), { lanes: 3 })
    for (const name of ['api', 'worker', 'redis', 'postgres']) {
      const pid = await platform.signal(name, 'SIGKILL')
      await platform.waitForProcess(name, pid)
    }
    await healthyAgain()
    const result = await load.stop()
    expect(result.failures).toEqual([])
    expect(result.sent).toBeGreaterThan(50)
  })
})

describe('kill -9 of the API', () => {
  test('right after it accepted a service does not lose it', async () => {
    // With Redis hung the job cannot be enqueued: what is left is the row.
    const body = { name: 'out-api', image: platform.connection.testImage, memory: '96Mi' }
    await whileStopped('redis', async () => {
      await platform.expectApi([202], 'POST', '/services', body)
      const pid = await platform.signal('api', 'SIGKILL')
      await platform.waitForProcess('api', pid)
    })
    expect((await platform.waitReady('out-api')).status).toBe(200)
  })
})
