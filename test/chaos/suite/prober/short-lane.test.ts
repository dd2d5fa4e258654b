import { createHash } from 'node:crypto'
import { expect, test } from 'vitest'
import { checkEcho } from './short-lane.ts'

const asked = { path: '/probe?number=7', service: 'chaos', body: undefined }
const right = {
  url: '/probe?number=7',
  service: 'chaos',
  method: 'GET',
  bodySha256: createHash('sha256').digest('hex'),
  replica: 'abc',
}

test('the right echo tells who answered', () => {
  expect(checkEcho(JSON.stringify(right), asked)).toEqual({ replica: 'abc' })
})

test.each([
  ['another request', { url: '/probe?number=8' }],
  ['another service', { service: 'other' }],
  ['another method', { method: 'POST' }],
  ['another body', { bodySha256: 'x' }],
])('the echo of %s is a wrong answer', (_what, part) => {
  expect(checkEcho(JSON.stringify({ ...right, ...part }), asked)).toHaveProperty('wrong')
})

test('half a body is a wrong answer', () => {
  expect(checkEcho(JSON.stringify(right).slice(0, 40), asked)).toHaveProperty('wrong')
})
