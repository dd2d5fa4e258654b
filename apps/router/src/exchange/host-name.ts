const namedHost = /^([a-z0-9](?:[a-z0-9.-]*[a-z0-9])?)\.?(?::([0-9]{1,5}))?$/
const bracketedHost = /^(\[[0-9a-f:.]{2,45}\])(?::([0-9]{1,5}))?$/

/** Those that were read before: each of at most 261 bytes. */
const knownHosts = new Map<string, string>()
const maxKnownHosts = 4096

/**
 * The name in a Host header, lower case, without port and trailing dot; undefined when the header names nothing
 * that may be asked for (RFC 9110, 7.2: no user, no path, one host, a port from 1 to 65535).
 */
export function hostName(header: string): string | undefined {
  const known = knownHosts.get(header)
  if (known !== undefined) return known
  const name = readHostName(header)
  if (name !== undefined && knownHosts.size < maxKnownHosts) knownHosts.set(header, name)
  return name
}

function readHostName(header: string): string | undefined {
  if (header.length > 261) return undefined
  const text = header.toLowerCase()
  const parts = namedHost.exec(text) ?? bracketedHost.exec(text)
  const name = parts?.[1]
  if (name === undefined || name.includes('..')) return undefined
  const port = parts?.[2]
  if (port !== undefined && (Number(port) < 1 || Number(port) > 65_535)) return undefined
  return name
}
