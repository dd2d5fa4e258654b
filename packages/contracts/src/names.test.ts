import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  hostLabel,
  hostLabelProblem,
  namePattern,
  nameProblem,
  reservedNames,
  revisionName,
  revisionSuffixProblem,
  serviceNameLength,
} from './names.ts'

const { min, max } = serviceNameLength
const check = (name: string) => nameProblem(name, min, max)

describe('a service name', () => {
  test.each(['hello', 'a1b', 'a-b-c', 'x'.repeat(50)])('%s is taken', (name) => {
    expect(check(name)).toBeUndefined()
  })

  test.each(['', 'ab', 'x'.repeat(51)])('"%s" has the wrong length', (name) => {
    expect(check(name)).toMatch(/must be 3 to 50 characters long/)
  })

  test.each(['Hello', 'a_b', 'a.b', '-abc', 'abc-', 'abc\n', 'ab\u0430', '__proto__', 'a b'])(
    '"%s" is not a label',
    (name) => {
      expect(check(name)).toMatch(/lower-case letters/)
    },
  )

  test.each(['ab--c', 'xn--a'])('"%s" has the dashes that separate the project', (name) => {
    expect(check(name)).toMatch(/must not contain "--"/)
  })

  test('of digits only is refused', () => {
    expect(check('123')).toMatch(/letter/)
  })

  test.each([...reservedNames].filter((name) => !name.startsWith('_')))('"%s" is reserved', (name) => {
    expect(check(name)).toMatch(/reserved|characters/)
  })
})

test('the pattern in descriptions says the same as the check', () => {
  const pattern = new RegExp(namePattern)
  const text = fc.oneof(
    fc.string(),
    fc.stringMatching(/^[a-z0-9-]{1,8}$/),
    fc.stringMatching(/^[aA9_.-]{1,5}$/),
  )
  fc.assert(
    fc.property(text, (name) => {
      fc.pre(!reservedNames.has(name))
      expect(pattern.test(name)).toBe(nameProblem(name, 0, 1000) === undefined)
    }),
    { numRuns: 1000 },
  )
})

describe('a host label', () => {
  test('of the default project is the service alone', () => {
    expect(hostLabel({ service: 'hello', project: 'default' })).toBe('hello')
  })

  test('carries the tag in front and the project behind', () => {
    expect(hostLabel({ service: 'hello', project: 'acme', tag: 'canary' })).toBe('canary---hello--acme')
  })

  test('of 63 characters fits and of 64 does not', () => {
    const service = 'x'.repeat(50)
    expect(hostLabelProblem({ service, project: 'p'.repeat(11) })).toBeUndefined()
    expect(hostLabelProblem({ service, project: 'p'.repeat(12) })).toMatch(/64 characters, at most 63/)
  })
})

describe('a revision suffix', () => {
  test.each(['blue', 'v1', '2024', '1', 'a-b', 'x'.repeat(57)])('%s is taken', (suffix) => {
    expect(revisionSuffixProblem('hello', suffix)).toBeUndefined()
  })

  test.each(['', 'Blue', 'a_b', 'a.b', '-a', 'a-', 'a b', 'a\n'])('"%s" is not part of a label', (suffix) => {
    expect(revisionSuffixProblem('hello', suffix)).toMatch(/lower-case letters/)
  })

  test.each(['00001', '12345', '100000'])('%s is a number of another revision', (suffix) => {
    expect(revisionSuffixProblem('hello', suffix)).toMatch(/five digits/)
    expect(revisionName('hello', Number(suffix))).toBe(`hello-${suffix}`)
  })

  test('that makes the name too long for a label is refused with the name', () => {
    expect(revisionSuffixProblem('hello', 'x'.repeat(58))).toContain(`"hello-${'x'.repeat(58)}" has 64`)
  })

  test('has no double dash', () => {
    expect(revisionSuffixProblem('hello', 'a--b')).toMatch(/must not contain "--"/)
  })
})
