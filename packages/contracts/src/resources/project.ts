import { z } from 'zod'
import { projectNameLength } from '../names.ts'
import { nameField } from './name-field.ts'

export const projectSpec = z.strictObject({ name: nameField(projectNameLength) }).meta({ id: 'ProjectSpec' })
export type ProjectSpec = z.infer<typeof projectSpec>

export const projectView = z
  .object({ name: z.string(), uid: z.string(), createdAt: z.iso.datetime() })
  .meta({ id: 'Project' })
export type ProjectView = z.infer<typeof projectView>
