import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { AccessLine } from '../exchange/access-line.ts'
import { anAccessLine } from '../testing/access-lines.ts'
import { accessLineText } from './access-line-text.ts'

const hostile = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.string({
    unit: fc.constantFrom('"', '\\', '\n', '\r', '\0', '\x1b', '\x7f', '\x9b', '\u2028', '\ud800', 'a'),
  }),
)
const milliseconds = fc.integer({ min: 0, max: 4_000_000_000 }).map((microseconds) => microseconds / 1000)
const maybe = <Value>(value: fc.Arbitrary<Value>) => fc.option(value, { nil: undefined })

const anyLine: fc.Arbitrary<AccessLine> = fc.record({
  outcome: fc.constantFrom('answered', 'refused', 'broken-off', 'timed-out', 'client-gone'),
  requestId: hostile,
  traceparent: maybe(hostile),
  protocol: maybe(hostile),
  method: hostile,
  host: hostile,
  path: hostile,
  status: fc.integer({ min: 0, max: 599 }),
  ms: milliseconds,
  queuedMs: milliseconds,
  upstreamHeadMs: maybe(milliseconds),
  upstreamMs: maybe(milliseconds),
  bytes: fc.nat(Number.MAX_SAFE_INTEGER),
  receivedBytes: maybe(fc.nat(Number.MAX_SAFE_INTEGER)),
  retries: fc.nat(1),
  project: maybe(fc.constant('default')),
  service: maybe(fc.constant('hello')),
  revision: maybe(fc.constant('hello-00001')),
  replica: maybe(fc.uuid()),
  code: maybe(fc.constant('bad-gateway')),
})

test('a line gives every field back and is one line of printable characters, whatever a client sent', () => {
  const property = fc.property(anyLine, fc.nat(Number.MAX_SAFE_INTEGER), (line, at) => {
    const text = accessLineText(line, at)
    const known = Object.fromEntries(Object.entries(line).filter(([, value]) => value !== undefined))
    expect(JSON.parse(text)).toEqual({
      level: 30,
      time: at,
      process: 'router',
      ...known,
      msg: 'request ended',
    })
    expect(text).toMatch(/^[^\p{Cc}\p{Zl}\p{Zp}]*\n$/u)
  })
  fc.assert(property, { numRuns: 2000 })
})

test('times are written to the microsecond', () => {
  const { ms, queuedMs } = JSON.parse(
    accessLineText(anAccessLine({ ms: 12.000_499, queuedMs: 0.999_6 }), 0),
  ) as AccessLine
  expect({ ms, queuedMs }).toEqual({ ms: 12, queuedMs: 1 })
})

test('fields keep their names and places', () => {
  expect(accessLineText(anAccessLine(), 1_764_000_000_000)).toBe(
    '{"level":30,"time":1764000000000,"process":"router","outcome":"answered","requestId":"id",' +
      '"method":"GET","host":"hello.localhost","path":"/","status":200,"ms":1,"queuedMs":0,"bytes":0,"retries":0,' +
      '"project":"default","service":"hello","msg":"request ended"}\n',
  )
})
