import { BlockList, isIP } from 'node:net'
import type { EngineEndpoint, Tls } from './container-runtime.ts'
import { EngineError } from './engine-error.ts'

const loopback = new BlockList()
loopback.addSubnet('127.0.0.0', 8, 'ipv4')
loopback.addAddress('::1', 'ipv6')

/**
 * Reads `unix:///run/docker.sock` or `tcp://host:port`. Plain `tcp://` is for literal loopback addresses only
 * (127.0.0.0/8, ::1), never for names, which could resolve to anything: everything else needs `tls`.
 * Throws `InvalidEndpoint` with a sentence for the user.
 */
export function parseEndpoint(text: string, tls?: Tls): EngineEndpoint {
  if (text.startsWith('unix://')) return unixEndpoint(text, tls)
  if (text.startsWith('tcp://')) return tcpEndpoint(text, tls)
  throw invalid('must start with unix:// or tcp://')
}

/** The endpoint as text, without keys. */
export function describeEndpoint(endpoint: EngineEndpoint): string {
  if (endpoint.kind === 'unix') return `unix://${endpoint.path}`
  const host = isIP(endpoint.host) === 6 ? `[${endpoint.host}]` : endpoint.host
  return `tcp://${host}:${endpoint.port}`
}

function unixEndpoint(text: string, tls: Tls | undefined): EngineEndpoint {
  const path = text.slice('unix://'.length)
  if (!path.startsWith('/')) throw invalid('unix:// needs an absolute path')
  if (path.includes('\0') || Buffer.byteLength(path) > 107)
    throw invalid('a socket path has at most 107 bytes')
  if (tls !== undefined) throw invalid('a unix socket takes no TLS keys')
  return { kind: 'unix', path }
}

function tcpEndpoint(text: string, tls: Tls | undefined): EngineEndpoint {
  const match = /^tcp:\/\/(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):([0-9]{1,5})$/.exec(text)
  if (match === null) throw invalid('tcp:// needs a host and a port and nothing else')
  const host = String(match[1]).replace(/^\[|\]$/g, '')
  const port = Number(match[2])
  if (port < 1 || port > 65_535) throw invalid('the port must be 1 to 65535')
  if (String(match[1]).startsWith('[') && isIP(host) !== 6)
    throw invalid('the address in brackets is not IPv6')
  if (tls !== undefined) return { kind: 'tcp', host, port, tls }
  if (!isLoopbackAddress(host))
    throw invalid('plain tcp:// is for loopback addresses only; give ca, cert and key for mutual TLS')
  return { kind: 'tcp', host, port }
}

function isLoopbackAddress(host: string): boolean {
  const family = isIP(host)
  return family !== 0 && loopback.check(host, family === 6 ? 'ipv6' : 'ipv4')
}

function invalid(why: string): EngineError {
  return new EngineError('InvalidEndpoint', `the engine's endpoint ${why}`)
}
