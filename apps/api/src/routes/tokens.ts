import { createdTokenView, listOf, pageQuery, tokenSpec, tokenView as tokenSchema } from '@berth/contracts'
import { desired } from '@berth/db'
import { listBody, pageOf } from '../http/cursor.ts'
import { createToken, revokeToken, tokenView } from '../operations/tokens.ts'
import { readRoute, writeRoute, type Route } from './route.ts'

const tag = 'Tokens'

export function tokenRoutes(): Route[] {
  return [
    readRoute({
      path: '/tokens',
      access: 'project',
      summary: 'List tokens of the project',
      tag,
      query: pageQuery,
      answers: { 200: { description: 'A page of tokens', schema: listOf(tokenSchema) } },
      async handle({ db, project, caller, query }) {
        const page = pageOf(query)
        const withPlatform = caller.scope === 'platform'
        const rows = await desired.listTokens(db, project.uid, { ...page, withPlatform })
        return { status: 200, body: listBody(rows, page, ({ id }) => id, tokenView) }
      },
    }),
    writeRoute({
      method: 'post',
      path: '/tokens',
      access: 'project',
      summary: 'Make a token; it is shown once',
      tag,
      body: tokenSpec,
      answers: { 201: { description: 'The token', schema: createdTokenView, headers: ['Location'] } },
      async handle({ tx, caller, project, body, prefix }) {
        const { view, secret } = await createToken(tx, caller, project, body)
        const headers = { location: `${prefix}/tokens/${view.id}`, 'cache-control': 'no-store' }
        return { status: 201, headers, body: { ...view, token: secret } }
      },
    }),
    writeRoute({
      method: 'delete',
      path: '/tokens/{token}',
      access: 'project',
      summary: 'Revoke a token at once',
      tag,
      answers: { 204: { description: 'Revoked' } },
      async handle({ tx, caller, project, param }) {
        await revokeToken(tx, caller, project, param('token'))
        return { status: 204 }
      },
    }),
  ]
}
