/** Names that a service, project or tag may not take (design section 4). */
export const reservedNames: ReadonlySet<string> = new Set([
  'www',
  'api',
  'admin',
  'console',
  'auth',
  'login',
  'registry',
  'localhost',
  'internal',
  'metrics',
  'health',
  'status',
  'wpad',
  'isatap',
  'autodiscover',
  '_acme-challenge',
])

/** The project that is always there; its services have no project in their host label. */
export const defaultProject = 'default'

/** What the form of a name comes to as one pattern, for descriptions of the API; `nameProblem` says why. */
export const namePattern = '^(?!.*--)(?![0-9]+$)[a-z0-9]([a-z0-9-]*[a-z0-9])?$'

const label = /^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$/
const maxHostLabel = 63

/** Why `name` cannot be a name of `min` to `max` characters, or undefined when it can. */
export function nameProblem(name: string, min: number, max: number): string | undefined {
  if (name.length < min || name.length > max)
    return `must be ${min} to ${max} characters long, has ${name.length}`
  if (!label.test(name)) return 'must be lower-case letters, digits and dashes, with no dash at either end'
  if (name.includes('--')) return 'must not contain "--"'
  if (/^[0-9]+$/.test(name)) return 'must contain a letter'
  if (reservedNames.has(name)) return `"${name}" is reserved`
  return undefined
}

/** The name of a service's revision: with the user's own suffix, else with its number in five digits. */
export function revisionName(service: string, suffix: string | number): string {
  return `${service}-${typeof suffix === 'number' ? String(suffix).padStart(5, '0') : suffix}`
}

/** Why a service cannot have revisions with the suffix, or undefined when it can. */
export function revisionSuffixProblem(service: string, suffix: string): string | undefined {
  if (!label.test(suffix)) return 'must be lower-case letters, digits and dashes, with no dash at either end'
  if (suffix.includes('--')) return 'must not contain "--"'
  if (/^[0-9]{5,}$/.test(suffix)) return 'must not be five digits or more: those number the other revisions'
  const composed = revisionName(service, suffix)
  if (composed.length <= maxHostLabel) return undefined
  return `the revision name "${composed}" has ${composed.length} characters, at most ${maxHostLabel} fit`
}

export const serviceNameLength = { min: 3, max: 50 } as const
export const tagLength = { min: 3, max: 20 } as const
export const projectNameLength = { min: 3, max: 20 } as const

/** `[<tag>---]<service>[--<project>]`: one DNS label, exact match (design section 4). */
export function hostLabel(parts: { service: string; project: string; tag?: string | null }): string {
  const tag = parts.tag ? `${parts.tag}---` : ''
  const project = parts.project === defaultProject ? '' : `--${parts.project}`
  return `${tag}${parts.service}${project}`
}

/** Why the composed host label cannot be used, or undefined when it can. */
export function hostLabelProblem(parts: {
  service: string
  project: string
  tag?: string | null
}): string | undefined {
  const composed = hostLabel(parts)
  if (composed.length <= maxHostLabel) return undefined
  return `the host label "${composed}" has ${composed.length} characters, at most ${maxHostLabel} fit in DNS`
}
