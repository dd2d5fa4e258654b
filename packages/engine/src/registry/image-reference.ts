/**
 * A reference as the user means it: `hello` is `docker.io/library/hello:latest`. `digest` wins over `tag`; at least
 * one of the two is there.
 */
export type ImageReference = { registry: string; repository: string; tag?: string; digest?: string }

export class InvalidReferenceError extends Error {
  constructor(why: string) {
    super(`the image reference ${why}`)
    this.name = 'InvalidReferenceError'
  }
}

export const dockerHub = 'docker.io'
const hubNames = new Set(['index.docker.io', 'registry-1.docker.io', dockerHub])

const domainComponent = '(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])'
const domain = `(?:${domainComponent}(?:\\.${domainComponent})*|\\[[a-fA-F0-9:]+\\])(?::[0-9]+)?`
const pathComponent = '[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*'
const registryPattern = new RegExp(`^${domain}$`)
const repositoryPattern = new RegExp(`^${pathComponent}(?:/${pathComponent})*$`)
const tagPattern = /^[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127}$/
const digestPattern = /^sha256:[a-f0-9]{64}$/

const maxNameCharacters = 255
/** A longer text is not worth looking at: name, tag and digest at their longest, with room. */
const maxReferenceCharacters = 1024

/**
 * Reads a reference with the grammar and the verdicts of distribution/reference (`ParseNormalizedNamed`), apart from
 * what can never be pulled: a host that no URL can have, and a digest other than sha256. Throws
 * `InvalidReferenceError`, whose message says what is wrong.
 */
export function parseReference(text: string): ImageReference {
  if (text === '') throw new InvalidReferenceError('is empty')
  if (text.length > maxReferenceCharacters) throw new InvalidReferenceError('is too long')
  if (/^[a-f0-9]{64}$/.test(text)) throw new InvalidReferenceError('is an image id; name a repository')
  const { first, rest } = splitRegistry(text)
  const { name, tag, digest } = splitRepository(rest)
  const registry = registryName(first)
  if (!isRegistryHost(registry)) throw new InvalidReferenceError('has a malformed registry host')
  if (name !== name.toLowerCase()) throw new InvalidReferenceError('has a repository in upper case')
  if (!repositoryPattern.test(name)) throw new InvalidReferenceError('has a malformed repository')
  if (tag !== undefined && !tagPattern.test(tag)) throw new InvalidReferenceError('has a malformed tag')
  if (digest !== undefined && !digestPattern.test(digest))
    throw new InvalidReferenceError('has a digest other than sha256 and 64 digits')
  const repository = registry === dockerHub && !name.includes('/') ? `library/${name}` : name
  if (registry.length + 1 + repository.length > maxNameCharacters)
    throw new InvalidReferenceError(`has a name of more than ${maxNameCharacters} characters`)
  if (registry === dockerHub && repository === 'library/scratch')
    throw new InvalidReferenceError('"scratch" is the empty image and cannot be run')
  if (digest !== undefined) return { registry, repository, digest, ...(tag === undefined ? {} : { tag }) }
  return { registry, repository, tag: tag ?? 'latest' }
}

/** The one spelling of a registry's name: lower case, and `docker.io` for all names of the hub. */
export function registryName(registry: string): string {
  const lower = registry.toLowerCase()
  if (hubNames.has(lower)) return dockerHub
  // A single word is told from a user's name by its upper case only.
  return looksLikeHost(lower) ? lower : registry
}

/** Whether a registry can have this name, `host` or `host:port`. */
export function isRegistryHost(registry: string): boolean {
  return registryPattern.test(registry) && validPort(registry) && sameInUrl(registry)
}

/** The reference written out, the way `docker pull` takes it. */
export function formatReference(reference: ImageReference): string {
  const { registry, repository, tag, digest } = reference
  return `${registry}/${repository}${tag === undefined ? '' : `:${tag}`}${digest === undefined ? '' : `@${digest}`}`
}

/**
 * The part before the first slash is a registry when it could not be a user's name: it has a dot, a port or upper
 * case, or is `localhost`.
 */
function splitRegistry(text: string): { first: string; rest: string } {
  const slash = text.indexOf('/')
  const first = text.slice(0, Math.max(slash, 0))
  if (slash === -1 || !(looksLikeHost(first) || first !== first.toLowerCase()))
    return { first: dockerHub, rest: text }
  return { first, rest: text.slice(slash + 1) }
}

function looksLikeHost(first: string): boolean {
  return /[.:]/.test(first) || first === 'localhost'
}

function splitRepository(text: string): {
  name: string
  tag: string | undefined
  digest: string | undefined
} {
  const at = text.indexOf('@')
  const digest = at === -1 ? undefined : text.slice(at + 1)
  const named = at === -1 ? text : text.slice(0, at)
  const colon = named.indexOf(':')
  if (colon === -1) return { name: named, tag: undefined, digest }
  return { name: named.slice(0, colon), tag: named.slice(colon + 1), digest }
}

/** Whether a URL can have this host and means the same by it: neither 300.1.1.1 nor 127.1, which is 127.0.0.1. */
function sameInUrl(registry: string): boolean {
  const url = URL.parse(`http://${registry}`)
  const host = registry.replace(/:[0-9]+$/, '')
  return url !== null && (host.startsWith('[') || url.hostname === host.toLowerCase())
}

function validPort(registry: string): boolean {
  const port = /:([0-9]+)$/.exec(registry.replace(/^\[.*\]/, ''))?.[1]
  return port === undefined || (Number(port) >= 1 && Number(port) <= 65_535)
}
