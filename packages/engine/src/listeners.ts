/** A TCP socket in state LISTEN; `address` is `0.0.0.0`, `::`, `127.0.0.1` and so on. */
export type Listener = { address: string; port: number }

const listenState = '0A'

/**
 * The listening sockets of `/proc/net/tcp` and `/proc/net/tcp6` (one after the other, headers included). Addresses
 * there are hexadecimal in 32-bit words of the machine's byte order, which is little-endian on all that Berth runs on.
 */
export function parseListeners(text: string): Listener[] {
  const found = new Map<string, Listener>()
  for (const line of text.split('\n')) {
    const match = /^\s*\d+:\s+([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4})\s+\S+\s+([0-9A-F]{2})\s/.exec(line)
    if (match === null || match[3] !== listenState) continue
    const [, hex = '', port = ''] = match
    const listener = { address: hex.length === 8 ? ipv4(hex) : ipv6(hex), port: Number.parseInt(port, 16) }
    found.set(`${listener.address} ${listener.port}`, listener)
  }
  return [...found.values()]
}

/** Whether something listens on `port` where the bridge reaches it, that is not on loopback only. */
export function listensBeyondLoopback(listeners: readonly Listener[], port: number): boolean {
  return listeners.some((each) => each.port === port && !isLoopback(each.address))
}

function isLoopback(address: string): boolean {
  return address.startsWith('127.') || address === '::1'
}

function bytesOfWord(word: string): number[] {
  return [6, 4, 2, 0].map((at) => Number.parseInt(word.slice(at, at + 2), 16))
}

function ipv4(hex: string): string {
  return bytesOfWord(hex).join('.')
}

/** Shortened as URL does it: `::`, `::1`; an IPv4 address in IPv6 is shown as the IPv4 address. */
function ipv6(hex: string): string {
  const bytes = [0, 8, 16, 24].flatMap((at) => bytesOfWord(hex.slice(at, at + 8)))
  const text = Buffer.from(bytes).toString('hex')
  if (text.startsWith('00000000000000000000ffff')) return bytes.slice(12).join('.')
  const groups = text.match(/.{4}/g) ?? []
  return new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1)
}
