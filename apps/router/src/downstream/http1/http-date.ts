let line = ''
let lineIsFor = 0

/** The Date header for an answer of now (RFC 9110, 6.6.1). */
export function dateLine(): string {
  const second = Math.floor(Date.now() / 1000)
  if (second !== lineIsFor) {
    lineIsFor = second
    line = `Date: ${new Date(second * 1000).toUTCString()}\r\n`
  }
  return line
}
