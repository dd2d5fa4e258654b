import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { redisKeys, type RouteSnapshot } from '@berth/contracts'
import { Redis } from 'ioredis'
import { pino } from 'pino'
import { afterEach, describe, expect, inject, test } from 'vitest'
import { openRouterRelay, type RedisRelay } from './router-relay.ts'
import { hangableRedis } from './testing/hangable-redis.ts'

const closers: (() => void | Promise<void>)[] = []
afterEach(async () => {
  for (const close of closers.splice(0)) await close()
})

function open(installation: string, url = inject('redisUrl')): { relay: RedisRelay; redis: Redis } {
  const relay = openRouterRelay(url, installation, pino({ level: 'silent' }))
  const redis = new Redis(inject('redisUrl'))
  closers.push(
    () => relay.close(),
    () => redis.disconnect(),
  )
  return { relay, redis }
}

function snapshot(epoch: number, sequence: number): RouteSnapshot {
  return { kind: 'snapshot', installation: 'x', version: { epoch, sequence }, hosts: [], revisions: [] }
}

describe('the relay through Redis', () => {
  test('keeps the newest snapshot whoever writes last', async () => {
    const { relay, redis } = open('relay-newest')
    const key = redisKeys('relay-newest').routeSnapshot
    await expect.poll(() => relay.healthy()).toBe(true)
    relay.publish(snapshot(2, 5))
    await expect
      .poll(async () => JSON.parse((await redis.get(key)) ?? '{}'))
      .toMatchObject({ version: { epoch: 2 } })
    relay.publish(snapshot(1, 99))
    relay.publish(snapshot(2, 4))
    relay.publish(snapshot(2, 6))
    await expect
      .poll(async () => JSON.parse((await redis.get(key)) ?? '{}'))
      .toMatchObject({ version: { epoch: 2, sequence: 6 } })
  })

  test('hands over what routers say and drops what is not JSON', async () => {
    const { relay, redis } = open('relay-frames')
    const heard: unknown[] = []
    relay.onFrame((payload) => heard.push(payload))
    const channel = redisKeys('relay-frames').routerFrames
    await expect.poll(() => redis.publish(channel, '{"router":"a"}')).toBe(1)
    await redis.publish(channel, '{nonsense')
    await redis.publish(channel, '{"router":"b"}')
    await expect.poll(() => heard.at(-1)).toEqual({ router: 'b' })
    expect(heard).toContainEqual({ router: 'a' })
  })

  test('is not healthy while Redis hangs, and sends it nothing but heartbeats', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'relay-'))
    const way = await hangableRedis(inject('redisUrl'), join(folder, 's'))
    const { relay, redis } = open('relay-hangs', way.url)
    closers.push(
      () => way.close(),
      () => rm(folder, { recursive: true }),
    )
    const beat = setInterval(() => relay.publish({ kind: 'heartbeat', epoch: 1 }), 100)
    closers.push(() => clearInterval(beat))
    await expect.poll(() => relay.healthy()).toBe(true)
    way.hang()
    await expect.poll(() => relay.healthy(), { timeout: 20_000 }).toBe(false)
    relay.publish(snapshot(1, 1))
    way.resume()
    await expect.poll(() => relay.healthy(), { timeout: 20_000 }).toBe(true)
    const key = redisKeys('relay-hangs').routeSnapshot
    expect(await redis.get(key)).toBeNull()
    relay.publish(snapshot(1, 2))
    await expect.poll(() => redis.get(key)).not.toBeNull()
  })
})
