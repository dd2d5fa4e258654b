import { describe, expect, test } from 'vitest'
import { parseImageConfig, parseManifest } from './manifest.ts'

const digest = `sha256:${'a'.repeat(64)}`
const bytes = (value: unknown) => Buffer.from(JSON.stringify(value))
const part = (os: string, architecture: string) => ({ digest, size: 1, platform: { os, architecture } })

describe('a manifest', () => {
  test('of an image names its configuration and layers', () => {
    const image = { schemaVersion: 2, config: { digest, size: 1 }, layers: [{ digest, size: 2 }] }
    expect(parseManifest(bytes(image))).toMatchObject({ kind: 'image', layers: [{ size: 2 }] })
  })

  test('of an index keeps what is for Linux', () => {
    const manifests = [part('linux', 'amd64'), part('windows', 'amd64'), { digest, size: 1 }]
    expect(parseManifest(bytes({ schemaVersion: 2, manifests }))).toEqual({
      kind: 'index',
      manifests: [{ digest, architecture: 'amd64' }],
    })
  })

  test.each([
    ['of schema 1', { schemaVersion: 1, fsLayers: [] }],
    [
      'with a digest that is a path',
      { schemaVersion: 2, config: { digest: 'sha256:../../x', size: 1 }, layers: [] },
    ],
    ['with a negative size', { schemaVersion: 2, config: { digest, size: -1 }, layers: [] }],
    [
      'with layers elsewhere',
      { schemaVersion: 2, config: { digest, size: 1 }, layers: [{ digest, size: 1, urls: ['http://x'] }] },
    ],
    ['that is a number', 1],
  ])('%s is refused', (_, value) => {
    expect(() => parseManifest(bytes(value))).toThrow(/image/)
  })

  test('that is not JSON is refused', () => {
    expect(() => parseManifest(Buffer.from('<html>'))).toThrow(/not JSON/)
  })
})

describe('the configuration of an image', () => {
  test('may say nothing about user and ports', () => {
    const config = parseImageConfig(bytes({ architecture: 'arm64', os: 'linux' }))
    expect(config).toEqual({ architecture: 'arm64', os: 'linux', user: '', exposedPorts: [] })
  })

  test('gives the TCP ports', () => {
    const ExposedPorts = { '80/tcp': {}, '53/udp': {}, '8080': {} }
    const config = parseImageConfig(bytes({ architecture: 'arm64', os: 'linux', config: { ExposedPorts } }))
    expect(new Set(config.exposedPorts)).toEqual(new Set([80, 8080]))
  })
})
