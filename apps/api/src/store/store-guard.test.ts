import { StoreUnavailableError } from '@berth/db'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { storeGuard } from './store-guard.ts'

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

const never = <T>() => new Promise<T>(() => {})

test('work that ends in time is not asked about', async () => {
  const answers = vi.fn(async () => true)
  await expect(storeGuard(answers)(Promise.resolve(7))).resolves.toBe(7)
  await vi.advanceTimersByTimeAsync(10_000)
  expect(answers).not.toHaveBeenCalled()
})

test('work on a database that says nothing is given up within 2 s', async () => {
  const given = storeGuard(() => never<boolean>())(never())
  const outcome = expect(given).rejects.toThrow(StoreUnavailableError)
  await vi.advanceTimersByTimeAsync(2_000)
  await outcome
})

test('slow work on a living database goes on', async () => {
  let finish: (value: number) => void = () => {}
  const work = new Promise<number>((resolve) => {
    finish = resolve
  })
  const answers = vi.fn(async () => true)
  const given = storeGuard(answers)(work)
  await vi.advanceTimersByTimeAsync(8_000)
  expect(answers.mock.calls.length).toBeGreaterThan(3)
  finish(7)
  await expect(given).resolves.toBe(7)
})

test('requests that wait together ask once', async () => {
  const answers = vi.fn(() => never<boolean>())
  const guarded = storeGuard(answers)
  const all = Promise.allSettled(Array.from({ length: 20 }, () => guarded(never())))
  await vi.advanceTimersByTimeAsync(2_000)
  await all
  expect(answers).toHaveBeenCalledTimes(1)
})
