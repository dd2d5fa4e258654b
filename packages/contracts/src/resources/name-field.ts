import { z } from 'zod'
import { namePattern, nameProblem } from '../names.ts'

/** A DNS label of `min` to `max` characters. */
export function nameField({ min, max }: { min: number; max: number }) {
  return z
    .string()
    .superRefine((name, context) => {
      const problem = nameProblem(name, min, max)
      if (problem !== undefined) context.addIssue({ code: 'custom', message: problem })
    })
    .meta({ minLength: min, maxLength: max, pattern: namePattern })
}
