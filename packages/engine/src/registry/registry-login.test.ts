import { describe, expect, test } from 'vitest'
import { parseChallenge } from './registry-login.ts'

describe('a challenge', () => {
  test('names realm, service and scope', () => {
    const header =
      'Bearer realm="https://auth.example/token",service="reg, one",scope="repository:a/b:pull,push"'
    const challenge = parseChallenge(header)
    expect(challenge?.scheme).toBe('bearer')
    expect(Object.fromEntries(challenge?.parameters ?? [])).toEqual({
      realm: 'https://auth.example/token',
      service: 'reg, one',
      scope: 'repository:a/b:pull,push',
    })
  })

  test('may be Basic, in any case, with escapes and without quotes', () => {
    expect(parseChallenge('basic Realm="a \\"b\\""')?.parameters.get('realm')).toBe('a "b"')
    expect(parseChallenge('BASIC realm=plain')?.parameters.get('realm')).toBe('plain')
  })

  test.each([undefined, '', '   ', '"x"'])('%j is none', (header) => {
    expect(parseChallenge(header)).toBeUndefined()
  })
})
