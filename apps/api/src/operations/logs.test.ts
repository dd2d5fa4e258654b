import { expect, test } from 'vitest'
import { parseSince } from './logs.ts'

const now = Date.parse('2026-01-02T00:00:00Z')

test.each([
  ['30s', now - 30_000],
  ['15m', now - 900_000],
  ['1d', Date.parse('2026-01-01T00:00:00Z')],
  ['2026-01-01T12:00:00+02:00', Date.parse('2026-01-01T10:00:00Z')],
  ['999999999d', 0],
])('since %s', (text, ms) => expect(parseSince(text, now)).toBe(ms))

test.each(['', 'yesterday', '15', '-5m', '2026', '2026-13-45T00:00:00Z'])('%j is no moment', (text) => {
  expect(() => parseSince(text, now)).toThrow('since: must be')
})
