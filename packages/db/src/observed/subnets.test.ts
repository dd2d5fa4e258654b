import fc from 'fast-check'
import { expect, test } from 'vitest'
import { nodeCapacity } from './node-capacity.ts'
import { freeSubnet, parseCidr } from './subnets.ts'

test('a /16 gives 256 networks of /24 in order, then nothing', () => {
  const taken: string[] = []
  for (;;) {
    const subnet = freeSubnet('198.18.0.0/16', taken)
    if (subnet === undefined) break
    taken.push(subnet)
  }
  expect(taken).toHaveLength(256)
  expect(taken[0]).toBe('198.18.0.0/24')
  expect(taken[255]).toBe('198.18.255.0/24')
})

test('small blocks give networks of /26', () => {
  expect(freeSubnet('10.0.0.0/24', ['10.0.0.0/26'])).toBe('10.0.0.64/26')
})

test('a subnet that overlaps a larger or smaller one is not given out', () => {
  expect(freeSubnet('10.0.0.0/16', ['10.0.0.0/20'])).toBe('10.0.16.0/24')
  expect(freeSubnet('10.0.0.0/16', ['10.0.0.64/26'])).toBe('10.0.1.0/24')
})

test('what is no block is refused', () => {
  for (const text of ['', '10.0.0.0', '10.0.0.0/7', '10.0.0.0/27', '10.0.1.0/16', '300.0.0.0/8', '::/8'])
    expect(() => parseCidr(text), text).toThrow(RangeError)
})

test('subnets given out one after the other never overlap', () => {
  fc.assert(
    fc.property(fc.integer({ min: 16, max: 26 }), fc.integer({ min: 1, max: 40 }), (prefix, count) => {
      const taken: string[] = []
      for (let index = 0; index < count; index += 1) {
        const subnet = freeSubnet(`10.64.0.0/${prefix}`, taken)
        if (subnet === undefined) break
        taken.push(subnet)
      }
      const ranges = taken.map(parseCidr).map(({ base, prefix }) => [base, base + 2 ** (32 - prefix)])
      ranges.sort((a, b) => (a[0] ?? 0) - (b[0] ?? 0))
      for (const [index, [start = 0]] of ranges.entries())
        expect(start).toBeGreaterThanOrEqual(ranges[index - 1]?.[1] ?? 0)
    }),
  )
})

test('a node has what the operator says, else what its engine says, less a tenth or 512 MiB', () => {
  const gibibyte = 1024 ** 3
  const status = { cpuMillis: 8000, memoryBytes: 64 * gibibyte }
  expect(nodeCapacity({ capacity: null, systemReservedBytes: null }, status)).toEqual({
    ...status,
    systemReservedBytes: Math.floor(6.4 * gibibyte),
  })
  const capacity = { cpuMillis: 2000, memoryBytes: gibibyte }
  expect(nodeCapacity({ capacity, systemReservedBytes: null }, status)).toEqual({
    ...capacity,
    systemReservedBytes: gibibyte / 2,
  })
  expect(nodeCapacity({ capacity: null, systemReservedBytes: 5 }, null)).toEqual({
    cpuMillis: 0,
    memoryBytes: 0,
    systemReservedBytes: 5,
  })
})
