import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { readNdjson } from './ndjson.ts'

async function* inPieces(bytes: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

async function all(text: string, size = 7): Promise<unknown[]> {
  const values: unknown[] = []
  for await (const value of readNdjson(inPieces(Buffer.from(text), size))) values.push(value)
  return values
}

describe('a stream of JSON lines', () => {
  test('gives the same values however it is cut into pieces', async () => {
    const values = fc.array(fc.record({ status: fc.string({ unit: 'binary' }), id: fc.integer() }))
    await fc.assert(
      fc.asyncProperty(values, fc.integer({ min: 1, max: 20 }), async (values, size) => {
        const text = values.map((value) => `${JSON.stringify(value)}\r\n`).join('')
        expect(await all(text, size)).toEqual(values)
      }),
    )
  })

  test('may lack the last newline and have empty lines', async () => {
    expect(await all('{"a":1}\n\n\r\n{"b":2}')).toEqual([{ a: 1 }, { b: 2 }])
  })

  test('that is cut in the middle of a line fails', async () => {
    await expect(all('{"a":1}\n{"b":')).rejects.toThrow(SyntaxError)
  })

  test('that never ends its line fails', async () => {
    await expect(all(`"${'x'.repeat(2 * 1024 * 1024)}`, 65_536)).rejects.toThrow(/too long/)
  })
})
