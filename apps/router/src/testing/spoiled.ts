import fc from 'fast-check'

/*
 * Bytes as latin1, as generators of messages put them together and take them apart.
 */

function bytesOf(byte: fc.Arbitrary<number>, maxLength: number): fc.Arbitrary<string> {
  return fc.string({ maxLength, unit: byte.map((code) => String.fromCharCode(code)) })
}

/** Printable bytes, those above ASCII, and tabs. */
const valueByte = fc.oneof(
  { weight: 9, arbitrary: fc.integer({ min: 0x20, max: 0x7e }) },
  { weight: 1, arbitrary: fc.constantFrom(0x09, 0x80, 0xa0, 0xe9, 0xff) },
)
const name = fc.string({
  minLength: 1,
  maxLength: 12,
  unit: fc.constantFrom('a', 'Z', '0', '-', '_', '!', '#', '~'),
})

/** One line of a head. */
export const field = fc.tuple(name, bytesOf(valueByte, 20)).map(([name, value]) => `${name}: ${value}\r\n`)

export const anyBytes = bytesOf(fc.integer({ min: 0, max: 255 }), 60)

/** What parsers have been led astray with, in messages of both kinds. */
const spoils = [
  '\r',
  '\n',
  '\r\n',
  '\0',
  ' ',
  '\t',
  ':',
  ';',
  ',',
  '0',
  '1',
  'f',
  '-',
  '+',
  '0x',
  '\x7f',
  '\x0b',
  '\x80',
  'Content-Length: 3\r\n',
  'content-length: 0\r\n',
  'Transfer-Encoding: chunked\r\n',
  'Transfer-Encoding: identity\r\n',
  'Transfer-Encoding : chunked\r\n',
  ' folded\r\n',
]

type Spoil = { atLine: boolean; at: number; cut: number; put: string }

/** `bytes` of which up to three places were changed; `puts` may come in beside what is usual. */
export function spoiledOf(bytes: fc.Arbitrary<string>, puts: readonly string[]): fc.Arbitrary<string> {
  const spoil: fc.Arbitrary<Spoil> = fc.record({
    atLine: fc.boolean(),
    at: fc.nat(1000),
    cut: fc.constantFrom(0, 0, 1, 1, 2, 5),
    put: fc.constantFrom('', ...spoils, ...puts),
  })
  return fc
    .tuple(bytes, fc.array(spoil, { minLength: 1, maxLength: 3 }))
    .map(([whole, changes]) => changes.reduce(spoiled, whole))
}

/** Cuts and puts something at any byte, or around the end of a line, where it does most harm. */
function spoiled(bytes: string, { atLine, at, cut, put }: Spoil): string {
  const lineEnds = [...bytes.matchAll(/\r\n/g)].flatMap(({ index }) => [index, index, index + 1, index + 2])
  const position = (atLine ? lineEnds[at % lineEnds.length] : at % (bytes.length + 1)) ?? 0
  return bytes.slice(0, position) + put + bytes.slice(position + cut)
}

/** The same bytes in up to `most` pieces, some of them empty. */
export function inPieces(
  whole: fc.Arbitrary<string>,
  most = 9,
): fc.Arbitrary<{ bytes: string; pieces: string[] }> {
  return fc.tuple(whole, fc.array(fc.nat(400), { maxLength: most - 1 })).map(([bytes, cuts]) => {
    const places = cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b)
    return { bytes, pieces: [0, ...places].map((from, i) => bytes.slice(from, places[i] ?? bytes.length)) }
  })
}
