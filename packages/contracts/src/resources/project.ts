import { z } from 'zod'
import { nameProblem, projectNameLength } from '../names.ts'

const projectName = z.string().superRefine((name, context) => {
  const problem = nameProblem(name, projectNameLength.min, projectNameLength.max)
  if (problem !== undefined) context.addIssue({ code: 'custom', message: problem })
})

export const projectSpec = z.strictObject({ name: projectName }).meta({ id: 'ProjectSpec' })
export type ProjectSpec = z.infer<typeof projectSpec>

export const projectView = z
  .object({ name: z.string(), uid: z.string(), createdAt: z.iso.datetime() })
  .meta({ id: 'Project' })
export type ProjectView = z.infer<typeof projectView>
