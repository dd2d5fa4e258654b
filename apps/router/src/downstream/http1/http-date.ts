let date = ''
let dateIsFor = 0

/** Now, as the Date header has it (RFC 9110, 5.6.7). */
export function httpDate(): string {
  const second = Math.floor(Date.now() / 1000)
  if (second !== dateIsFor) {
    dateIsFor = second
    date = new Date(second * 1000).toUTCString()
  }
  return date
}
