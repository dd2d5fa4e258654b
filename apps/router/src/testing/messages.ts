/** A request or an answer, its bytes latin1: `POST /x HTTP/1.1` or `HTTP/1.1 200 OK`, fields in order, the body decoded. */
export type Message = { start: string; fields: [string, string][]; body: string }

const requestLine = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+ [\x21-\x7e]+ HTTP\/1\.1$/
const statusLine = /^HTTP\/1\.1 [1-9][0-9]{2} [\t\x20-\x7e\x80-\xff]*$/
const field = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+): ([\t\x20-\x7e\x80-\xff]*)$/
const bodiless = /^HTTP\/1\.1 (?:1[0-9]{2}|204|304) /

/**
 * The whole messages that `bytes` begin with, as the strictest of readers sees them, and what is left: a message that
 * is not over yet, or something that nobody may send. Written apart from the parsers that it judges.
 */
export function readMessages(bytes: string): { messages: Message[]; rest: string } {
  const messages: Message[] = []
  let rest = bytes
  for (let read = readMessage(rest); read; read = readMessage(rest)) {
    messages.push(read.message)
    rest = rest.slice(read.length)
  }
  return { messages, rest }
}

/** The values of one field. */
export function valuesOf({ fields }: Message, wanted: string): string[] {
  return fields.filter(([name]) => name.toLowerCase() === wanted).map(([, value]) => value)
}

function readMessage(bytes: string): { message: Message; length: number } | undefined {
  const headLength = bytes.indexOf('\r\n\r\n') + 4
  if (headLength < 4) return undefined
  const [start = '', ...lines] = bytes.slice(0, headLength - 4).split('\r\n')
  if (!requestLine.test(start) && !statusLine.test(start)) return undefined
  const fields: [string, string][] = []
  for (const line of lines) {
    const [, name, value] = field.exec(line) ?? []
    if (name === undefined || value === undefined) return undefined
    fields.push([name, value])
  }
  const message = { start, fields, body: '' }
  const read = readBody(message, bytes.slice(headLength))
  return read && { message: { ...message, body: read.body }, length: headLength + read.length }
}

/** The body by the one framing that the head has; undefined when it has more than one, or the body is not over. */
function readBody(head: Message, bytes: string): { body: string; length: number } | undefined {
  const lengths = valuesOf(head, 'content-length')
  const codings = valuesOf(head, 'transfer-encoding')
  if (lengths.length + codings.length > 1) return undefined
  if (bodiless.test(head.start) || lengths.length + codings.length === 0) return { body: '', length: 0 }
  const [length] = lengths
  if (length === undefined) return codings[0] === 'chunked' ? readChunks(bytes) : undefined
  const wanted = Number(length)
  return /^[0-9]{1,15}$/.test(length) && bytes.length >= wanted
    ? { body: bytes.slice(0, wanted), length: wanted }
    : undefined
}

/** Chunks without extensions and without trailers: nothing else is ours to pass on. */
function readChunks(bytes: string): { body: string; length: number } | undefined {
  let body = ''
  let at = 0
  for (;;) {
    const [line = '', digits = ''] = /^([0-9a-fA-F]{1,8})\r\n/.exec(bytes.slice(at, at + 10)) ?? []
    if (line === '') return undefined
    const size = Number.parseInt(digits, 16)
    const end = at + line.length + size
    if (bytes.slice(end, end + 2) !== '\r\n') return undefined
    body += bytes.slice(at + line.length, end)
    at = end + 2
    if (size === 0) return { body, length: at }
  }
}
