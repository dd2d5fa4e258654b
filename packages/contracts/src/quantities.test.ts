import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { formatMemory, parseCpu, parseMemory } from './quantities.ts'

describe('memory', () => {
  test.each([
    ['512Mi', 536_870_912],
    ['1Gi', 1_073_741_824],
    ['1.5G', 1_500_000_000],
    ['100k', 100_000],
  ])('%s is %d bytes', (text, bytes) => {
    expect(parseMemory(text)).toBe(bytes)
  })

  test.each(['', '512', '512m ', '10Ei', '-1Mi', '1e3Mi', '0x10Mi', ' 1Gi', '1 Gi', '512mi'])(
    '"%s" is not a quantity',
    (text) => {
      expect(parseMemory(text)).toBeUndefined()
    },
  )

  test('is spelled so that it reads back to the same bytes', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 1_000_000 }),
        fc.constantFrom('Ki', 'Mi', 'k', 'M'),
        (count, unit) => {
          const bytes = parseMemory(`${count}${unit}`) ?? 0
          expect(parseMemory(formatMemory(bytes))).toBeGreaterThanOrEqual(bytes)
          expect((parseMemory(formatMemory(bytes)) ?? 0) - bytes).toBeLessThan(1024)
        },
      ),
    )
  })
})

describe('cpu', () => {
  test.each([
    [1, 1000],
    [0.05, 50],
    ['500m', 500],
  ])('%s is %d thousandths', (value, millis) => {
    expect(parseCpu(value)).toBe(millis)
  })

  test.each([Number.NaN, Infinity, JSON.parse('1e309'), 'NaN', '1', '-5m', '5 m', ''])(
    '%s is not a quantity',
    (value) => {
      expect(parseCpu(value)).toBeUndefined()
    },
  )
})
