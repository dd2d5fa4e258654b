import { describe, expect, test } from 'vitest'
import { pullFailure } from './pull-failure.ts'

describe('why a pull failed', () => {
  test.each([
    ['manifest for 127.0.0.1:5050/a@sha256:0 not found: manifest unknown: manifest unknown', 'ImageNotFound'],
    ['repository a not found: name unknown: repository name not known to registry', 'ImageNotFound'],
    ['Head "http://r/v2/a/manifests/1": no basic auth credentials', 'RegistryAuthRequired'],
    ['unauthorized: authentication required', 'RegistryAuthRequired'],
    [
      "pull access denied for a, repository does not exist or may require 'docker login'",
      'RegistryAuthRequired',
    ],
    [
      'Get "http://127.0.0.1:1/v2/": dial tcp 127.0.0.1:1: connect: connection refused',
      'RegistryUnreachable',
    ],
    ['Get "https://r/v2/": dial tcp: lookup r on 127.0.0.11:53: no such host', 'RegistryUnreachable'],
    ['Get "https://r/v2/": net/http: TLS handshake timeout', 'RegistryUnreachable'],
    ['Get "https://r/v2/": http: server gave HTTP response to HTTPS client', 'RegistryUnreachable'],
    ['Get "https://r/v2/": x509: certificate signed by unknown authority', 'RegistryUnreachable'],
    ['received unexpected HTTP status: 503 Service Unavailable', 'RegistryUnreachable'],
    ['filesystem layer verification failed for digest sha256:0', 'ImageCorrupt'],
    ['write /var/lib/docker/tmp/x: no space left on device', 'NoSpace'],
    ['no matching manifest for linux/arm64 in the manifest list entries', 'ArchitectureMismatch'],
    ['something else', 'PullFailed'],
  ])('%s', (text, code) => {
    expect(pullFailure('r/a', text).code).toBe(code)
  })
})
