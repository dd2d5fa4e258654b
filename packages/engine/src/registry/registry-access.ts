import { isIP } from 'node:net'
import type { RegistryAuth } from '../container-runtime.ts'
import type { Resolve } from './address-guard.ts'
import { dockerHub } from './image-reference.ts'

/** Which registries Berth may talk to, and as whom. */
export type RegistryAccess = {
  /** `host:port` of the platform's own registry, which may be anywhere. */
  platformRegistry?: string
  /** Hosts (`host` or `host:port`) that the operator allows although they are private. */
  allowedHosts: readonly string[]
  /** The login for a registry as it is named in references; undefined asks as nobody. */
  credentials: (registry: string) => Promise<RegistryAuth | undefined> | RegistryAuth | undefined
  /** How names are resolved; the system's way when absent. */
  resolve?: Resolve
}

/** Where the API of a registry is. Plain http for loopback addresses only, as Docker does it. */
export function registryOrigin(registry: string): URL {
  if (registry === dockerHub) return new URL('https://registry-1.docker.io')
  const { hostname } = new URL(`http://${registry}`)
  return new URL(`${isLoopback(hostname) ? 'http' : 'https'}://${registry}`)
}

/**
 * The one name of a registry: on the platform's own machine `localhost:5050` and `127.0.0.1:5050` are the same
 * registry, and people push to either.
 */
export function canonicalRegistry(access: RegistryAccess, registry: string): string {
  const { platformRegistry } = access
  if (platformRegistry === undefined) return registry
  const [own, asked] = [new URL(`http://${platformRegistry}`), new URL(`http://${registry}`)]
  const same =
    own.host === asked.host ||
    (own.port === asked.port && isLoopback(own.hostname) && asked.hostname === 'localhost')
  return same ? platformRegistry : registry
}

/** Whether the operator has opened this host, so that its address does not matter. */
export function isOpened(access: RegistryAccess, url: URL): boolean {
  const port = url.port === '' ? (url.protocol === 'https:' ? '443' : '80') : url.port
  const names = [url.hostname, `${url.hostname}:${port}`]
  return [access.platformRegistry, ...access.allowedHosts].some(
    (entry) => entry !== undefined && names.includes(entry.toLowerCase()),
  )
}

function isLoopback(hostname: string): boolean {
  const literal = hostname.replace(/^\[|\]$/g, '')
  return hostname === 'localhost' || literal === '::1' || (isIP(literal) === 4 && literal.startsWith('127.'))
}
