import { z } from 'zod'
import { nameField } from './name-field.ts'

export const volumeNameLength = { min: 1, max: 50 } as const
const maxVolumes = 8
const maxPathLength = 255

/** Where a mount would take away what the container itself needs: the kernel's file systems, accounts, programs. */
const keptPaths = [
  '/proc',
  '/sys',
  '/dev',
  '/etc',
  '/bin',
  '/sbin',
  '/lib',
  '/lib64',
  '/usr',
  '/boot',
  '/run',
]

/** Why nothing may be mounted there; undefined when it may. */
function mountPathProblem(path: string): string | undefined {
  if (!path.startsWith('/')) return 'must be an absolute path'
  if (path.length > maxPathLength) return `must have at most ${maxPathLength} characters`
  if (!/^[A-Za-z0-9._/-]+$/.test(path)) return 'must consist of letters, digits and ". _ - /"'
  if (path === '/') return 'must not be the root of the container'
  const parts = path.slice(1).split('/')
  if (parts.some((part) => part === '' || part === '.' || part === '..'))
    return 'must be a plain path: no empty part, no "." and no ".."'
  const kept = keptPaths.find((other) => isWithin(path, other))
  return kept === undefined ? undefined : `must not be ${kept} or inside it`
}

function isWithin(path: string, folder: string): boolean {
  return path === folder || path.startsWith(`${folder}/`)
}

const mountPath = z.string().superRefine((path, context) => {
  const problem = mountPathProblem(path)
  if (problem !== undefined) context.addIssue({ code: 'custom', message: problem })
})

/** Named volumes of a service and where its app finds them. */
export const volumeMounts = z
  .array(z.strictObject({ name: nameField(volumeNameLength), mountPath }))
  .max(maxVolumes)
  .superRefine((mounts, context) => {
    for (const [index, { name, mountPath: path }] of mounts.entries()) {
      const before = mounts.slice(0, index)
      if (before.some((other) => other.name === name))
        context.addIssue({ code: 'custom', path: [index, 'name'], message: 'is mounted twice' })
      const other = before.find((mount) => isWithin(path, mount.mountPath) || isWithin(mount.mountPath, path))
      if (other !== undefined)
        context.addIssue({
          code: 'custom',
          path: [index, 'mountPath'],
          message: `must not be or lie within the same path as ${other.mountPath}`,
        })
    }
  })
export type VolumeMounts = z.infer<typeof volumeMounts>

/** `node` is null until a replica was placed for the first time; from then on the volume never leaves it. */
export const volumeView = z
  .object({
    name: z.string(),
    uid: z.string(),
    project: z.string(),
    /** The service that it belongs to; null when that was deleted. */
    service: z.string().nullable(),
    node: z.string().nullable(),
    deleting: z.boolean(),
    /** Whether an archive is being written into it. */
    restoring: z.boolean(),
    createdAt: z.iso.datetime(),
  })
  .meta({ id: 'Volume' })
export type VolumeView = z.infer<typeof volumeView>
