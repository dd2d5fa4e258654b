import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { LogLine } from './container-runtime.ts'
import { maxLineBytes, readLogLines } from './log-frames.ts'

const at = '2026-11-25T03:00:00.123456789Z'
const atMs = Date.parse('2026-11-25T03:00:00.123Z')

function frame(kind: number, text: string | Buffer): Buffer {
  const payload = Buffer.from(text)
  const header = Buffer.alloc(8)
  header.writeUInt8(kind, 0)
  header.writeUInt32BE(payload.length, 4)
  return Buffer.concat([header, payload])
}

async function read(bytes: Buffer, size = bytes.length): Promise<LogLine[]> {
  async function* pieces() {
    for (let from = 0; from < bytes.length; from += size) yield bytes.subarray(from, from + size)
  }
  const lines: LogLine[] = []
  for await (const line of readLogLines(pieces())) lines.push(line)
  return lines
}

describe('the log of a container', () => {
  test('tells time, stream and text', async () => {
    const bytes = Buffer.concat([frame(1, `${at} out\n`), frame(2, `${at} err\r\n`), frame(1, `${at} \n`)])
    expect(await read(bytes)).toEqual([
      { at: atMs, stream: 'stdout', line: 'out', truncated: false },
      { at: atMs, stream: 'stderr', line: 'err', truncated: false },
      { at: atMs, stream: 'stdout', line: '', truncated: false },
    ])
  })

  test('reads the same however it is cut into pieces', async () => {
    const bytes = Buffer.concat([frame(1, `${at} Grüße\n`), frame(2, `${at} x\n`)])
    const whole = await read(bytes)
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 50 }), async (size) => {
        expect(await read(bytes, size)).toEqual(whole)
      }),
    )
  })

  test('puts a line that the engine has split together again, across the other stream', async () => {
    const bytes = Buffer.concat([frame(1, `${at} one `), frame(2, `${at} other\n`), frame(1, `${at} two\n`)])
    expect((await read(bytes)).map((line) => line.line)).toEqual(['other', 'one two'])
  })

  test('keeps a last line without a newline', async () => {
    expect((await read(frame(1, `${at} last`))).map((line) => line.line)).toEqual(['last'])
  })

  test('cuts a line at 64 KiB and marks it', async () => {
    const part = 'x'.repeat(16 * 1024)
    const frames = Array.from({ length: 10 }, () => frame(1, `${at} ${part}`))
    const [line] = await read(Buffer.concat([...frames, frame(1, `${at} end\n`)]))
    expect(line).toMatchObject({ truncated: true })
    expect(line?.line.length).toBe(maxLineBytes)
  })

  test('that is not multiplexed fails', async () => {
    await expect(read(Buffer.from('plain text of a terminal'))).rejects.toThrow(/multiplexed/)
  })
})
