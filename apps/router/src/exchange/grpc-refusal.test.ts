import { expect, test } from 'vitest'
import { grpcRefusal, isGrpc } from './grpc-refusal.ts'

test.each([
  [400, '13'],
  [404, '12'],
  [429, '14'],
  [502, '14'],
  [503, '14'],
  [504, '4'],
  [418, '2'],
])('%i is status %s', (httpStatus, status) => {
  const headers = grpcRefusal(httpStatus, 'why')
  expect(headers).toEqual(['content-type', 'application/grpc', 'grpc-status', status, 'grpc-message', 'why'])
})

test('the message is made of printable ASCII only', () => {
  expect(grpcRefusal(503, '100 % "ä"\r\n').at(-1)).toBe('100 %25 "%C3%A4"%0D%0A')
})

test.each([
  ['application/grpc', true],
  ['Application/gRPC+proto', true],
  ['application/json', false],
])('a call with content-type %s is gRPC: %s', (type, is) => {
  expect(isGrpc(['Content-Type', type])).toBe(is)
})

test('a request that does not say what it carries is not gRPC', () => {
  expect(isGrpc([])).toBe(false)
})
