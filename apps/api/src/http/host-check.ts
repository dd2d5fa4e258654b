import { BlockList, isIP } from 'node:net'

const loopback = new BlockList()
loopback.addSubnet('127.0.0.0', 8, 'ipv4')
loopback.addAddress('::1', 'ipv6')

/**
 * Whether a Host header names this API: `localhost` or a loopback address. Any other name could have been made to
 * resolve to loopback by whoever owns it, with a browser of this machine as its tool (DNS rebinding).
 */
export function isOwnHost(host: string | undefined): boolean {
  const match = /^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+)(?::[0-9]{1,5})?$/.exec(host ?? '')
  const name = match?.[1]?.replace(/^\[|\]$/g, '').toLowerCase()
  if (name === undefined) return false
  return name === 'localhost' || isLoopback(name)
}

/** Whether `address` is a literal loopback address. */
export function isLoopback(address: string): boolean {
  const family = isIP(address)
  return family !== 0 && loopback.check(address, family === 6 ? 'ipv6' : 'ipv4')
}
