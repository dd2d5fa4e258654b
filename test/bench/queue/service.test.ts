import { afterEach, expect, test } from 'vitest'
import { steady } from '../load/schedule.ts'
import { type Service, startService } from './service.ts'

let service: Service | undefined

afterEach(() => service?.close())

/** Asks the first replica itself, where nothing keeps one request from another. */
async function serveWithoutProxy(serviceMs: number, perSecond: number, patience?: (number | undefined)[]) {
  service = await startService(1, serviceMs)
  const proxy = { name: 'none', port: service.ports[0] ?? 0, pids: [], stop: () => Promise.resolve() }
  return service.serve(proxy, steady(perSecond, 10 / perSecond), patience)
}

test('a replica counts requests that come while it is at work', async () => {
  const { answered, seen } = await serveWithoutProxy(1000, 1000)
  expect(answered).toBe(10)
  expect(seen).toMatchObject({ requests: 10, overlaps: 9 })
  expect(seen.workMs).toBeGreaterThanOrEqual(10_000)
})

test('a replica goes on working for a client that has left', async () => {
  const { answered, seen } = await serveWithoutProxy(1000, 1000, [50])
  expect(answered).toBe(9)
  expect(seen).toMatchObject({ requests: 10, overlaps: 9 })
})

test('a wait is from the scheduled time to the arrival, whatever the service takes', async () => {
  const { waitsMs } = await serveWithoutProxy(1000, 1000)
  for (const wait of waitsMs) {
    expect(wait).toBeGreaterThanOrEqual(0)
    expect(wait).toBeLessThan(900)
  }
})
