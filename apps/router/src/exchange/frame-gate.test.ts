import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { FrameGate } from './frame-gate.ts'

type Frame = { opcode: number; fin: boolean; length: number }

function encode({ opcode, fin, length }: Frame, masked: boolean): Buffer {
  const first = (fin ? 0x80 : 0) | opcode
  const mask = masked ? 0x80 : 0
  const head =
    length < 126
      ? Buffer.from([first, mask | length])
      : length < 65_536
        ? Buffer.from([first, mask | 126, length >> 8, length & 0xff])
        : Buffer.concat([Buffer.from([first, mask | 127]), bigEndian(length)])
  // A payload of bytes that look like heads of frames.
  const payload = Buffer.alloc(length, Buffer.from([0x82, 0x03, 0x88, 0xfe]))
  return Buffer.concat([head, Buffer.from(masked ? [1, 2, 3, 4] : []), payload])
}

function bigEndian(length: number): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64BE(BigInt(length))
  return bytes
}

/** Cuts `bytes` at `cuts`, each a share of the whole. */
function chunksOf(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const places = [0, ...cuts.map((cut) => Math.round(cut * bytes.length)), bytes.length].sort((a, b) => a - b)
  return places.slice(1).map((place, index) => bytes.subarray(places[index], place))
}

/** The code of the close frame that `bytes` are, whole and nothing else. */
function closeCode(bytes: Buffer, masked: boolean): number {
  expect([...bytes.subarray(0, 2)]).toEqual([0x88, masked ? 0x82 : 0x02])
  expect(bytes).toHaveLength(masked ? 8 : 4)
  const payload = bytes.subarray(-2)
  const mask = masked ? bytes.subarray(2, 6) : Buffer.alloc(4)
  return (((payload[0] ?? 0) ^ (mask[0] ?? 0)) << 8) | ((payload[1] ?? 0) ^ (mask[1] ?? 0))
}

const aFrame = fc.record({
  opcode: fc.constantFrom(0, 1, 2, 9, 10),
  fin: fc.boolean(),
  length: fc.oneof(
    { weight: 5, arbitrary: fc.nat(300) },
    fc.constantFrom(0, 125, 126, 127, 65_535, 65_536, 65_537),
  ),
})
const aStream = fc.record({
  frames: fc.array(aFrame, { maxLength: 8 }),
  cuts: fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 30 }),
  masked: fc.boolean(),
})

/** A chunk of one byte is the hardest: short streams are cut everywhere. */
const cutEverywhere = (bytes: Buffer) => Array.from({ length: bytes.length }, (_, at) => at / bytes.length)

describe('a gate', () => {
  test('lets everything through as long as nobody closes it', () => {
    const property = fc.property(aStream, ({ frames, cuts, masked }) => {
      const bytes = Buffer.concat(frames.map((frame) => encode(frame, masked)))
      const gate = new FrameGate({ masked })
      const passed = chunksOf(bytes, cuts).map((chunk) => gate.pass(chunk))
      expect(Buffer.concat(passed).equals(bytes)).toBe(true)
    })
    fc.assert(property, { numRuns: 300 })
  })

  test('closes behind the frame that is under way, however the frames are cut, and lets nothing follow', () => {
    const property = fc.property(aStream, fc.nat(), fc.boolean(), (stream, when, everywhere) => {
      const { frames, masked } = stream
      const encoded = frames.map((frame) => encode(frame, masked))
      const bytes = Buffer.concat(encoded)
      const cuts = everywhere && bytes.length < 600 ? cutEverywhere(bytes) : stream.cuts
      const chunks = chunksOf(bytes, cuts)
      const before = when % (chunks.length + 1)
      const gate = new FrameGate({ masked })
      const passed = chunks.slice(0, before).map((chunk) => gate.pass(chunk))
      const closedAt = Buffer.concat(passed).length
      passed.push(gate.close(), ...chunks.slice(before).map((chunk) => gate.pass(chunk)), gate.close())

      let boundary = 0
      for (const frame of encoded) if (boundary < closedAt) boundary += frame.length
      const all = Buffer.concat(passed)
      expect(all.subarray(0, boundary).equals(bytes.subarray(0, boundary))).toBe(true)
      expect(closeCode(all.subarray(boundary), masked)).toBe(1001)
    })
    fc.assert(property, { numRuns: 1000 })
  })

  test('says nothing after the close frame of the peer itself, and lets that through whole', () => {
    const property = fc.property(aStream, fc.nat(), ({ frames, cuts, masked }, when) => {
      const closing = { opcode: 8, fin: true, length: 20 }
      const bytes = Buffer.concat([...frames, closing].map((frame) => encode(frame, masked)))
      const chunks = chunksOf(bytes, cuts)
      const gate = new FrameGate({ masked })
      const passed = chunks.map((chunk) => gate.pass(chunk))
      expect(Buffer.concat([...passed, gate.close()]).equals(bytes)).toBe(true)

      // Asked while the close frame of the peer is under way: it is the frame that is let through.
      const late = new FrameGate({ masked })
      const head = bytes.length - (when % 19) - 1
      const begun = [late.pass(bytes.subarray(0, head)), late.close(), late.pass(bytes.subarray(head))]
      expect(Buffer.concat(begun).equals(bytes)).toBe(true)
    })
    fc.assert(property, { numRuns: 300 })
  })
})
