/**
 * The name under which a node keeps an image, however it came there: pulled by digest or fed by the worker. It
 * says nothing about how a registry is reached. `acme/hello@sha256:12…` becomes `berth.local/acme/hello:sha256-12…`.
 */
export function localImageName(repository: string, digest: string): string {
  return `berth.local/${repository}:${digest.replace(':', '-')}`
}
