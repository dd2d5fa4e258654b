/**
 * The name under which a node keeps an image, however it came there: pulled by digest or fed by the worker. It
 * says nothing about how a registry is reached. `acme/hello@sha256:12…` becomes `berth.local/acme/hello:sha256-12…`.
 */
export function localImageName(repository: string, digest: string): string {
  return `berth.local/${repository}:${digest.replace(':', '-')}`
}

/** The digest in a local image name; undefined when somebody else has given the name. */
export function digestOfLocalName(name: string): string | undefined {
  const hex = /^berth\.local\/.+:sha256-([0-9a-f]{64})$/.exec(name)?.[1]
  return hex === undefined ? undefined : `sha256:${hex}`
}
