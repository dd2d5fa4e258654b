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

  test.each(['', '512', '512m ', '10Ei', '999999999Gi', '-1Mi', '1e3Mi', '0x10Mi', ' 1Gi', '1 Gi', '512mi'])(
    '"%s" is not a quantity',
    (text) => {
      expect(parseMemory(text)).toBeUndefined()
    },
  )

  test.each([
    ['1.5Gi', '1536Mi'],
    ['1.1Gi', '1.1Gi'],
    ['0.5k', '0.5k'],
    ['1234.567M', '1234567k'],
    ['0Mi', '0Ki'],
  ])('%s is shown as %s', (text, shown) => {
    expect(formatMemory(parseMemory(text) ?? -1)).toBe(shown)
  })

  test('is spelled so that it reads back to the same bytes', () => {
    const unit = fc.constantFrom('Ki', 'Mi', 'Gi', 'k', 'M', 'G')
    const amount = fc.integer({ min: 0, max: 999_999_999 })
    const decimals = fc.stringMatching(/^(?:\.[0-9]{1,6})?$/)
    fc.assert(
      fc.property(amount, decimals, unit, (amount, decimals, unit) => {
        const bytes = parseMemory(`${amount}${decimals}${unit}`)
        if (bytes !== undefined) expect(parseMemory(formatMemory(bytes))).toBe(bytes)
      }),
    )
  })

  test('of any whole number of bytes below a petabyte has a spelling', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 1e15 - 1 }), (bytes) => {
        expect(parseMemory(formatMemory(bytes))).toBe(bytes)
      }),
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
