import fc from 'fast-check'

/*
 * Answers of replicas as bytes (latin1), well formed and spoiled, for what reads them.
 */

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
const value = bytesOf(valueByte, 20)
const field = fc.tuple(name, value).map(([name, value]) => `${name}: ${value}\r\n`)
const body = bytesOf(fc.integer({ min: 0, max: 255 }), 60)
const chunkExtension = fc.constantFrom('', '', ';a', ';a=b', ';a="b c"')

const chunkedBody = fc
  .record({
    chunks: fc.array(fc.tuple(body, chunkExtension), { maxLength: 4 }),
    trailers: fc.array(field, { maxLength: 2 }),
  })
  .map(({ chunks, trailers }) => {
    const sized = chunks.filter(([bytes]) => bytes !== '')
    const parts = sized.map(
      ([bytes, extension]) => `${bytes.length.toString(16)}${extension}\r\n${bytes}\r\n`,
    )
    return `${parts.join('')}0\r\n${trailers.join('')}\r\n`
  })

const framed = fc.oneof(
  body.map((bytes) => ({ framing: `Content-Length: ${bytes.length}\r\n`, bytes })),
  chunkedBody.map((bytes) => ({ framing: 'Transfer-Encoding: chunked\r\n', bytes })),
  body.map((bytes) => ({ framing: '', bytes })),
)

const informational = fc.constantFrom(
  'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n',
  'HTTP/1.1 102 Processing\r\n\r\n',
  'HTTP/1.1 100 Continue\r\n\r\n',
)
const statusLine = fc.constantFrom(
  'HTTP/1.1 200 OK',
  'HTTP/1.1 404 Not Found',
  'HTTP/1.1 204 No Content',
  'HTTP/1.1 304 ',
  'HTTP/1.1 500 Gemacht \xe2\x9c\x93',
  'HTTP/1.0 200 OK',
)
const connection = fc.constantFrom('', '', 'Connection: close\r\n', 'Connection: keep-alive\r\n')

/** A well formed answer to a GET; the end of the connection may be a part of it. */
export const anAnswer = fc
  .record({
    informational: fc.array(informational, { maxLength: 2 }),
    statusLine,
    connection,
    before: fc.array(field, { maxLength: 3 }),
    framed,
    after: fc.array(field, { maxLength: 2 }),
  })
  .map(
    ({ informational, statusLine, connection, before, framed, after }) =>
      `${informational.join('')}${statusLine}\r\n${before.join('')}${connection}${framed.framing}${after.join('')}\r\n${framed.bytes}`,
  )
  // HTTP/1.0 has no transfer coding.
  .filter((bytes) => !/HTTP\/1\.0[^]*\r\nTransfer-Encoding/.test(bytes))

/** What parsers have been led astray with. */
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
  'Connection: upgrade\r\nUpgrade: websocket\r\n',
  'HTTP/1.1 200 OK\r\n\r\n',
  'HTTP/1.1 101 Switching Protocols\r\n\r\n',
]

type Spoil = { atLine: boolean; at: number; cut: number; put: string }

const spoil: fc.Arbitrary<Spoil> = fc.record({
  atLine: fc.boolean(),
  at: fc.nat(1000),
  cut: fc.constantFrom(0, 0, 1, 1, 2, 5),
  put: fc.constantFrom('', ...spoils),
})

/** Cuts and puts something at any byte, or around the end of a line, where it does most harm. */
function spoiled(bytes: string, { atLine, at, cut, put }: Spoil): string {
  const lineEnds = [...bytes.matchAll(/\r\n/g)].flatMap(({ index }) => [index, index, index + 1, index + 2])
  const position = (atLine ? lineEnds[at % lineEnds.length] : at % (bytes.length + 1)) ?? 0
  return bytes.slice(0, position) + put + bytes.slice(position + cut)
}

/** An answer of which up to three places were changed. */
const aSpoiledAnswer = fc
  .tuple(anAnswer, fc.array(spoil, { minLength: 1, maxLength: 3 }))
  .map(([bytes, spoils]) => spoils.reduce(spoiled, bytes))

export const anyAnswer = fc.oneof(anAnswer, aSpoiledAnswer)

/** Any of them, and the same bytes in pieces. */
export const anAnswerInPieces = fc
  .tuple(anyAnswer, fc.array(fc.nat(200), { maxLength: 8 }))
  .map(([bytes, cuts]) => {
    const places = cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b)
    return { bytes, pieces: [0, ...places].map((from, i) => bytes.slice(from, places[i] ?? bytes.length)) }
  })

function bytesOf(byte: fc.Arbitrary<number>, maxLength: number): fc.Arbitrary<string> {
  return fc.string({ maxLength, unit: byte.map((code) => String.fromCharCode(code)) })
}
