import { describe, expect, test } from 'vitest'
import { decodeHealthResponse, encodeHealthRequest } from './grpc-health.ts'

const hex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex')

describe('the question of a gRPC health check', () => {
  test('is an empty message for the server as a whole', () => {
    expect(encodeHealthRequest('')).toEqual(hex('00 00000000'))
  })

  test('names the service in field 1', () => {
    expect(encodeHealthRequest('abc')).toEqual(hex('00 00000005 0a 03 616263'))
  })

  test('names one of more than 127 bytes, which have a length of two', () => {
    const name = 'é'.repeat(100)
    const encoded = encodeHealthRequest(name)
    expect(encoded.subarray(0, 8)).toEqual(hex('00 000000cb 0a c801'))
    expect(encoded.subarray(8).toString()).toBe(name)
  })
})

describe('the answer of a gRPC health check', () => {
  test.each([
    ['SERVING', '00 00000002 08 01'],
    ['NOT_SERVING', '00 00000002 08 02'],
    ['SERVICE_UNKNOWN', '00 00000002 08 03'],
    ['UNKNOWN', '00 00000000'],
  ])('says %s', (status, frame) => {
    expect(decodeHealthResponse(hex(frame))).toBe(status)
  })

  test.each([
    ['nothing', ''],
    ['half a frame', '00 00000002 08'],
    ['more than one frame', '00 00000002 08 01 00'],
    ['a compressed message', '01 00000002 08 01'],
    ['another field', '00 00000002 10 01'],
    ['a status that there is not', '00 00000002 08 09'],
    ['a longer message', '00 00000003 08 01 00'],
  ])('is none when it is %s', (_what, frame) => {
    expect(decodeHealthResponse(hex(frame))).toBeNull()
  })
})
