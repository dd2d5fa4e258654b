import { expect, test } from 'vitest'
import { identify, isAlive, parseStat } from './process-identity.ts'

const tail = (state: string) => `${state} 1 2 3 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 11 0 123456 99 88`

test('reads the start time behind a name with brackets and spaces', () => {
  expect(parseStat(7, `7 (a) b (c) ${tail('S')}`)).toEqual({ pid: 7, startTime: '123456' })
})

test('a zombie is nobody', () => {
  expect(parseStat(7, `7 (node) ${tail('Z')}`)).toBeUndefined()
})

test('this process is alive under its own start time and under no other', () => {
  const own = identify(process.pid)
  expect(own).toBeDefined()
  if (own === undefined) return
  expect(isAlive(own)).toBe(true)
  expect(isAlive({ ...own, startTime: '1' })).toBe(false)
})
