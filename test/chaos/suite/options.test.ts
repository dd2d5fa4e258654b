import { expect, test } from 'vitest'
import type { Fault } from './fault.ts'
import { readOptions } from './options.ts'

const fault = (name: string): Fault => ({
  name,
  target: { requests: { kind: 'none' } },
  run: () => Promise.resolve({ injectedAt: 0, problems: [] }),
})
const single = ['api killed', 'worker killed', 'worker stopped', 'node gone'].map(fault)
const mixed = fault('mixed')
const names = (...args: string[]) => readOptions(args, single, mixed).faults.map(({ name }) => name)

test('the seed decides the order, and the mixed faults come last', () => {
  expect(names('--seed', '4')).toEqual(names('--seed', '4'))
  expect(names('--seed', '4').toSorted()).toEqual([...single, mixed].map(({ name }) => name).toSorted())
  expect(names('--seed', '4').at(-1)).toBe('mixed')
  const orders = new Set(Array.from({ length: 10 }, (_, seed) => names('--seed', String(seed)).join()))
  expect(orders.size).toBeGreaterThan(1)
})

test('only takes names and their beginnings, in the order asked for', () => {
  expect(names('--only', 'node', '--only', 'worker')).toEqual([
    'node gone',
    'worker killed',
    'worker stopped',
  ])
})

test('a run is full unless it is short, and a seed is drawn when none is given', () => {
  expect(readOptions(['--short'], single, mixed).extent).toBe('short')
  const { extent, seed } = readOptions([], single, mixed)
  expect(extent).toBe('full')
  expect(seed).toBeGreaterThan(0)
})

test.each([
  [['--seed', 'x'], /--seed must be a whole number, not "x"/],
  [['--only', 'nothing'], /no fault is called "nothing"; there are: api killed/],
  [['--nonsense'], /nonsense/],
])('%j is refused with a sentence', (args, message) => {
  expect(() => readOptions(args, single, mixed)).toThrow(message)
})
