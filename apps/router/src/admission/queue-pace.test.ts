import { expect, test } from 'vitest'
import { QueuePace } from './queue-pace.ts'

/** A queue in which somebody is served every `intervalMs`, `times` times. */
function paceOf(intervalMs: number, times: number) {
  const pace = new QueuePace()
  pace.began(0)
  for (let i = 1; i <= times; i += 1) pace.granted(i * intervalMs)
  return pace
}

test('a wait is in vain when those before take nearly as long as the deadline', () => {
  const pace = paceOf(10, 50)
  expect(pace.isInVain(89, 1000, 500)).toBe(false)
  expect(pace.isInVain(91, 1000, 500)).toBe(true)
})

test('nobody is refused by a pace that is not known, or behind a few', () => {
  expect(new QueuePace().isInVain(9999, 1, 0)).toBe(false)
  expect(paceOf(10, 1).isInVain(9999, 1, 10)).toBe(false)
  expect(paceOf(30_000, 5).isInVain(15, 1000, 150_000)).toBe(false)
})

test('a queue that stands is held to a second, and one that was empty in between may be a burst again', () => {
  const pace = paceOf(10, 1200)
  expect(pace.isInVain(101, 60_000, 12_000)).toBe(true)
  pace.began(12_000)
  expect(pace.isInVain(101, 60_000, 12_001)).toBe(false)
})

test('the pace follows an app that gets slower', () => {
  const pace = paceOf(10, 50)
  for (let i = 1; i <= 50; i += 1) pace.granted(500 + i * 100)
  expect(pace.isInVain(20, 1000, 5500)).toBe(true)
})
