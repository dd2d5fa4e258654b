import { z } from 'zod'

export const tokenScopes = ['project', 'platform'] as const
export type TokenScope = (typeof tokenScopes)[number]

export const tokenSpec = z
  .strictObject({
    name: z
      .string()
      .min(1)
      .max(100)
      .regex(/^[^\p{Cc}]*$/u, 'must not contain control characters'),
    scope: z.enum(tokenScopes).default('project'),
    /** When it stops to work; null is never. */
    expiresAt: z.iso
      .datetime({ offset: true, error: 'must be an RFC 3339 time such as "2030-01-31T12:00:00Z", or null' })
      .nullable()
      .default(null),
  })
  .meta({ id: 'TokenSpec' })
export type TokenSpec = z.infer<typeof tokenSpec>

const view = {
  id: z.string(),
  name: z.string(),
  scope: z.enum(tokenScopes),
  project: z.string(),
  createdAt: z.iso.datetime(),
  expiresAt: z.iso.datetime().nullable(),
  lastUsedAt: z.iso.datetime().nullable(),
}

export const tokenView = z.object(view).meta({ id: 'Token' })
export type TokenView = z.infer<typeof tokenView>

/** The only answer that ever carries the token itself. */
export const createdTokenView = z.object({ ...view, token: z.string() }).meta({ id: 'CreatedToken' })
