import { expect, test } from 'vitest'
import { quoteLines, redact, splitQuotedLines } from './quoted-lines.ts'

test('lines that are quoted in a message are found in it again', () => {
  for (const whose of ['its', "the app's"] as const)
    expect(splitQuotedLines(quoteLines('it ended', ['a', '', 'b'], whose))).toEqual({
      message: 'it ended',
      lines: ['a', '', 'b'],
    })
})

test('a message without lines stays as it is', () => {
  expect(quoteLines('it ended', [])).toBe('it ended')
  expect(splitQuotedLines('it ended')).toEqual({ message: 'it ended', lines: [] })
})

test('values of variables are replaced, the longest first', () => {
  const env = { A: 'password', B: 'password-and-more' }
  expect(redact('xpasswordx: password-and-more, password', env)).toBe('x***x: ***, ***')
})

test('short values are replaced where they stand as a word, and the shortest are left', () => {
  const env = { PIN: '4711', ON: 'yes', ODD: 'a.b$' }
  expect(redact('yes: pin=4711, 47110, 04711, a.b$ and axb$', env)).toBe(
    'yes: pin=***, 47110, 04711, *** and axb$',
  )
})

test('a value of several lines is found in each of them', () => {
  const env = { KEY: '-----BEGIN KEY-----\nMIIEvQIBADANBg\r\n-----END KEY-----\n' }
  expect(redact('key: MIIEvQIBADANBg', env)).toBe('key: ***')
})
