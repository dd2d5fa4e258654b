import { StringDecoder } from 'node:string_decoder'
import type { LogLine } from './container-runtime.ts'

const headerBytes = 8
const maxFrameBytes = 1024 * 1024
export const maxLineBytes = 64 * 1024

export type Frame = { stream: 'stdout' | 'stderr'; payload: Buffer }

/**
 * Takes Docker's multiplexed stream apart: an 8-byte header (stream 0, 1 or 2; three zeros; length as big-endian
 * 32 bits), then the payload. Throws when it is not such a stream.
 */
export async function* readFrames(chunks: AsyncIterable<Buffer>): AsyncGenerator<Frame> {
  let pending: Buffer = Buffer.alloc(0)
  for await (const chunk of chunks) {
    pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk])
    while (pending.length >= headerBytes) {
      const kind = pending.readUInt8(0)
      const length = pending.readUInt32BE(4)
      if (kind > 2 || length > maxFrameBytes) throw new SyntaxError('the stream is not multiplexed')
      if (pending.length < headerBytes + length) break
      const payload = pending.subarray(headerBytes, headerBytes + length)
      yield { stream: kind === 2 ? 'stderr' : 'stdout', payload }
      pending = pending.subarray(headerBytes + length)
    }
  }
}

type Partial = { at: number; text: string; bytes: number; truncated: boolean; decoder: StringDecoder }

/**
 * Puts lines together. The engine writes one frame per message, each with its time in front; a line over 16 KiB
 * comes as several messages of which only the last ends with a newline. What exceeds 64 KiB is dropped and marked.
 */
export async function* readLogLines(chunks: AsyncIterable<Buffer>): AsyncGenerator<LogLine> {
  const partials = new Map<Frame['stream'], Partial>()
  for await (const { stream, payload } of readFrames(chunks)) {
    const { at, content } = splitTime(payload)
    const partial = partials.get(stream) ?? emptyPartial(at)
    const ends = content.at(-1) === 0x0a
    append(partial, ends ? content.subarray(0, -1) : content)
    partials.set(stream, partial)
    if (!ends) continue
    partials.delete(stream)
    yield lineOf(stream, partial)
  }
  for (const [stream, partial] of partials) yield lineOf(stream, partial)
}

function emptyPartial(at: number): Partial {
  return { at, text: '', bytes: 0, truncated: false, decoder: new StringDecoder('utf8') }
}

function append(partial: Partial, content: Buffer): void {
  const room = maxLineBytes - partial.bytes
  if (content.length > room) partial.truncated = true
  const kept = content.subarray(0, Math.max(room, 0))
  partial.bytes += kept.length
  partial.text += partial.decoder.write(kept)
}

function lineOf(stream: Frame['stream'], partial: Partial): LogLine {
  const text = partial.text + partial.decoder.end()
  const line = text.endsWith('\r') ? text.slice(0, -1) : text
  return { at: partial.at, stream, line, truncated: partial.truncated }
}

/** `2026-11-25T03:00:00.123456789Z rest` */
function splitTime(payload: Buffer): { at: number; content: Buffer } {
  const space = payload.indexOf(0x20)
  const at = space > 0 && space < 40 ? Date.parse(payload.toString('latin1', 0, space)) : Number.NaN
  return Number.isNaN(at) ? { at: 0, content: payload } : { at, content: payload.subarray(space + 1) }
}
