export { connectEngine, type EngineOptions } from './connect-engine.ts'
export type * from './container-runtime.ts'
export { containerStatuses } from './container-runtime.ts'
export { describeEndpoint, parseEndpoint } from './endpoint.ts'
export * from './engine-error.ts'
export { type EngineLimits, engineLimits } from './engine-limits.ts'
export { holdArchitectures } from './held-start/hold-program.ts'
export { berthLabels } from './labels.ts'
export * from './listeners.ts'
export { digestOfLocalName, localImageName } from './local-image-name.ts'
export { ensureSandboxImage, sandboxImage } from './sandbox-image.ts'
export {
  formatReference,
  type ImageReference,
  InvalidReferenceError,
  isRegistryHost,
  parseReference,
  registryName,
} from './registry/image-reference.ts'
export { streamImageTar } from './registry/image-tar.ts'
export type { ImageConfig } from './registry/manifest.ts'
export type { RegistryAccess } from './registry/registry-access.ts'
export {
  type ImageByDigest,
  readImageConfig,
  resolveDigest,
  type ResolvedImage,
} from './registry/resolve-digest.ts'
