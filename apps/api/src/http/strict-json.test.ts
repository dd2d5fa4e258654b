import fc from 'fast-check'
import { expect, test } from 'vitest'
import { ApiError } from '../api-error.ts'
import { parseStrictJson } from './strict-json.ts'

function refusalOf(text: string): unknown {
  try {
    return parseStrictJson(text)
  } catch (error) {
    expect(error).toBeInstanceOf(ApiError)
    return error
  }
}

const deep = (levels: number) => `${'['.repeat(levels)}${']'.repeat(levels)}`

test.each([
  ['{"a":1,"a":2}', 'a', 'is there twice'],
  ['{"a":{"b":1,"\\u0062":2}}', 'a.b', 'is there twice'],
  ['{"a":[{},{"b":[],"b":1}]}', 'a.1.b', 'is there twice'],
  ['[{"__proto__":1}]', '0.__proto__', 'is a name that no field may have'],
  ['{"a":{"\\u005f_proto__":1}}', 'a.__proto__', 'is a name that no field may have'],
  ['{"a":["b","\\u0000"]}', 'a.1', 'has U+0000 in a string'],
  ['{"a":{"b":1,"\\u0000":1}}', 'a', 'has U+0000 in a string'],
  ['{"a":"b","c":"\\udc00"}', 'c', 'has half a surrogate pair in a string'],
  [`{"a":{},"b":${deep(64)}}`, 'b', 'is nested more than 64 levels deep'],
  ['['.repeat(500_000), '0', 'is nested more than 64 levels deep'],
  ['{"a":', '', 'is not JSON'],
  ['{"a":"bc', 'a', 'has a string without an end'],
  ['"\\x"', '', 'has a malformed string'],
  ['{a:1}', '', 'is not JSON'],
  ['}', '', 'is not JSON'],
  ['', '', 'is not JSON'],
  ['1 2', '', 'is not JSON'],
])('%.40s is refused at %j', (text, path, message) => {
  expect(refusalOf(text)).toMatchObject({ code: 'malformed-json', errors: [{ path, message }] })
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
