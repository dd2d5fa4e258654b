import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { affinityToken } from '../admission/affinity-token.ts'
import { affinityCookie, readAffinity, withoutAffinity } from './affinity.ts'

const affinity = { revision: affinityToken('svc-1', 'rev-1'), replica: affinityToken('svc-1', 'rep-1') }
const ours = affinityCookie(affinity).split(';', 1)[0] ?? ''

describe('the cookie', () => {
  test('says what it is and nothing of the ids in it', () => {
    expect(affinityCookie(affinity)).toMatch(
      /^BERTH_AFFINITY=[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{22}; Path=\/; HttpOnly; SameSite=Lax$/,
    )
    expect(affinityToken('svc-2', 'rep-1')).not.toBe(affinity.replica)
  })

  test.each([
    ['alone', [ours]],
    ['between others', [`a=1; ${ours}; b=2`]],
    ['without blanks', [`a=1;${ours};b=2`]],
    ['in a header of its own', ['a=1', ours]],
    ['behind one that is none', [`BERTH_AFFINITY=x; ${ours}`]],
  ])('is read %s', (_where, cookies) => {
    expect(readAffinity(cookies.flatMap((value) => ['Cookie', value]))).toEqual(affinity)
  })

  test.each([
    '',
    'BERTH_AFFINITY',
    'BERTH_AFFINITY=',
    `X${ours}`,
    `${ours}x`,
    ours.toLowerCase(),
    `a=${ours}`,
  ])('%j is none', (cookies) => {
    expect(readAffinity(['Cookie', cookies])).toBeUndefined()
  })

  test('is none in another header', () => {
    expect(readAffinity(['X-Cookie', ours])).toBeUndefined()
  })
})

describe('what the app gets', () => {
  test.each([
    [`a=1; ${ours}; b=2`, 'a=1; b=2'],
    [`${ours}; a=1`, 'a=1'],
    [`a=1; ${ours}`, 'a=1'],
    [`a=1;${ours};b=2`, 'a=1;b=2'],
    [`  a="x y" ;;  ${ours}; B=%41=; `, '  a="x y" ;; B=%41=; '],
    ['BERTH_AFFINITY=nonsense; a=1', 'a=1'],
    ['BERTH_AFFINITYS=1;  NOT_BERTH_AFFINITY=2', 'BERTH_AFFINITYS=1;  NOT_BERTH_AFFINITY=2'],
  ])('of %j is %j', (cookies, left) => {
    expect(withoutAffinity(['Cookie', cookies])).toEqual(['Cookie', left])
  })

  test('has no header of which nothing is left, and all others as they were', () => {
    const raw = ['host', 'a', 'COOKIE', ours, 'X-A', ours, 'cookie', ' a=1 ']
    expect(withoutAffinity(raw)).toEqual(['host', 'a', 'X-A', ours, 'cookie', ' a=1 '])
  })

  test('keeps every byte of what is not ours, wherever ours stands', () => {
    const part = fc.string({ unit: fc.constantFrom('a', 'B', '=', '"', ' ', '%', '.') })
    const property = fc.property(fc.array(part), fc.nat(), (parts, at) => {
      const others = parts.map((text) => `x${text}`)
      const index = at % (others.length + 1)
      const cookies = others.toSpliced(index, 0, ours).join('; ')
      expect(withoutAffinity(['Cookie', cookies])).toEqual(
        others.length === 0 ? [] : ['Cookie', others.join('; ')],
      )
    })
    fc.assert(property)
  })
})
