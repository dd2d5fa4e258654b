import fc from 'fast-check'
import { expect, test } from 'vitest'
import { ApiError } from '../api-error.ts'
import { parseStrictJson } from './strict-json.ts'

const deep = (levels: number) => `${'['.repeat(levels)}${']'.repeat(levels)}`

test.each([
  ['{"a":1,"a":2}', 'the key "a" twice'],
  ['{"a":{"b":1,"\\u0062":2}}', 'the key "b" twice'],
  ['[{"__proto__":1}]', '__proto__'],
  ['{"\\u005f_proto__":1}', '__proto__'],
  ['["\\u0000"]', 'U+0000'],
  ['["\\udc00"]', 'surrogate'],
  [deep(65), '64 levels'],
  ['['.repeat(500_000), '64 levels'],
  ['{"a":', 'is not JSON'],
  ['"abc', 'without an end'],
  ['"\\x"', 'malformed string'],
  ['{a:1}', 'is not JSON'],
  ['}', 'is not JSON'],
  ['', 'is not JSON'],
  ['1 2', 'is not JSON'],
])('%.40s is refused', (text, why) => {
  expect(() => parseStrictJson(text)).toThrow(ApiError)
  expect(() => parseStrictJson(text)).toThrow(why)
})

test.each([
  ['{"a":{"a":[{"a":1},{"a":2}]},"b":"a"}'],
  ['{"a":"{\\"a\\":1,\\"a\\":2}"}'],
  ['{"a":["a","a"]}'],
  [deep(64)],
  ['"😀"'],
  ['{"constructor":1,"toString":2}'],
])('%s is read as it stands', (text) => {
  expect(parseStrictJson(text)).toEqual(JSON.parse(text))
})

test('whatever JSON.stringify writes is read back, or refused for a reason of ours', () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 5 }), (value) => {
      const text = JSON.stringify(value)
      if (/\\u0000|__proto__|\\ud[89a-f]/i.test(text)) return
      expect(parseStrictJson(text)).toEqual(JSON.parse(text))
    }),
  )
})
