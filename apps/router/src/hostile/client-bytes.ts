/** What clients of these tests write, latin1. */

export const host = 'Host: hello.localhost\r\n'

/** A POST whose connection ends with it. `fields` are lines without the last CRLF. */
export function post(fields: string, body = '', target = '/'): string {
  return `POST ${target} HTTP/1.1\r\n${host}Connection: close\r\n${fields}\r\n\r\n${body}`
}

/** A POST in chunks; `chunks` are all that follows the head. */
export function postChunks(chunks: string, fields = 'A: b'): string {
  return post(`${fields}\r\nTransfer-Encoding: chunked`, chunks)
}

/** A GET whose connection ends with it. */
export function get(fields = 'A: b', target = '/'): string {
  return `GET ${target} HTTP/1.1\r\n${host}Connection: close\r\n${fields}\r\n\r\n`
}

/** A GET of which every byte of the head is given, but for the request line. */
export function bareGet(fields: string): string {
  return `GET / HTTP/1.1\r\n${fields}\r\n\r\n`
}

/** One byte as a character of a test's title: `0x0b`. */
export function named(byte: number): string {
  return `0x${byte.toString(16).padStart(2, '0')}`
}

export function bytesFrom(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, i) => first + i)
}

export const charOf = (byte: number): string => String.fromCharCode(byte)
