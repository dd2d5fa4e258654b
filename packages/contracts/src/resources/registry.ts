import { z } from 'zod'

export const registryCredentials = z
  .strictObject({ username: z.string().min(1).max(255), password: z.string().min(1).max(16_384) })
  .meta({ id: 'RegistryCredentials' })
export type RegistryCredentials = z.infer<typeof registryCredentials>

/** Credentials are write-only. */
export const registryView = z
  .object({ host: z.string(), username: z.string(), updatedAt: z.iso.datetime() })
  .meta({ id: 'Registry' })
export type RegistryView = z.infer<typeof registryView>
