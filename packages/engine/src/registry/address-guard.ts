import type { LookupAddress } from 'node:dns'
import { lookup as dnsLookup } from 'node:dns/promises'
import { BlockList, isIP, type LookupFunction } from 'node:net'
import { EngineError } from '../engine-error.ts'

/*
 * Users name registry hosts, and registries name realms and redirects. None of them may lead Berth to addresses
 * that only its own machines can reach. The check is made on the address that is connected to, at that moment, so
 * that a name cannot change its mind in between; what is refused is never connected to, so open and closed ports
 * give the same answer in the same time.
 */

const v4Blocks: readonly [string, number][] = [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 4],
  ['240.0.0.0', 4],
]
/** Of IPv6 only global unicast is public, and of that not what carries an IPv4 address or is for documents. */
const v6Public: readonly [string, number] = ['2000::', 3]
const v6Blocks: readonly [string, number][] = [
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['3fff::', 20],
]

const closed = new BlockList()
for (const [net, prefix] of v4Blocks) closed.addSubnet(net, prefix, 'ipv4')
for (const [net, prefix] of v6Blocks) closed.addSubnet(net, prefix, 'ipv6')
const open = new BlockList()
open.addSubnet(...v6Public, 'ipv6')

/** Whether an address is one of the public Internet. */
export function isPublicAddress(address: string): boolean {
  const family = isIP(address)
  if (family === 4) return !closed.check(address, 'ipv4')
  if (family === 6) return open.check(address, 'ipv6') && !closed.check(address, 'ipv6')
  return false
}

/** Resolves a name to all its addresses; `dns.lookup` unless a test says otherwise. */
export type Resolve = (host: string) => Promise<LookupAddress[]>

export const systemResolve: Resolve = (host) => dnsLookup(host, { all: true, verbatim: true })

/**
 * The addresses of a URL's host, all of them public, or `RegistryRefused`. One bad address refuses the name: which
 * one a connection would take is not for the other side to choose.
 */
export async function publicAddresses(hostname: string, resolve: Resolve): Promise<LookupAddress[]> {
  const literal = hostname.replace(/^\[|\]$/g, '')
  const family = isIP(literal)
  const addresses = family === 0 ? await resolve(hostname) : [{ address: literal, family }]
  if (addresses.length === 0) throw new EngineError('RegistryUnreachable', 'the registry host has no address')
  if (addresses.some(({ address }) => !isPublicAddress(address))) throw refusedHost()
  return addresses
}

/** For the `lookup` option of a connection: exactly the addresses that were checked, whatever DNS says by then. */
export function pinnedLookup(addresses: readonly LookupAddress[]): LookupFunction {
  return (_host, options, callback) => {
    const [first] = addresses
    if (options.all || first === undefined) callback(null, [...addresses])
    else callback(null, first.address, first.family)
  }
}

/** Says nothing about what is there. */
export function refusedHost(): EngineError {
  return new EngineError(
    'RegistryRefused',
    'the registry host is not one that Berth may talk to: it is a loopback, link-local or private address',
  )
}
