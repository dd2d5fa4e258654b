import { listOf, pageQuery, registryCredentials, registryView as registrySchema } from '@berth/contracts'
import { desired } from '@berth/db'
import type { ApiContext } from '../context.ts'
import { listBody, pageOf } from '../http/cursor.ts'
import { putRegistry, registryView, removeRegistry } from '../operations/registries.ts'
import { readRoute, writeRoute, type Route } from './route.ts'

const tag = 'Registries'

export function registryRoutes(context: ApiContext): Route[] {
  return [
    readRoute({
      path: '/registries',
      access: 'project',
      summary: 'List registries with stored credentials; passwords are never returned',
      tag,
      query: pageQuery,
      answers: { 200: { description: 'A page of registries', schema: listOf(registrySchema) } },
      async handle({ db, project, query }) {
        const page = pageOf(query)
        const rows = await desired.listRegistries(db, project.uid, page)
        return { status: 200, body: listBody(rows, page, ({ host }) => host, registryView) }
      },
    }),
    writeRoute({
      method: 'put',
      path: '/registries/{host}',
      access: 'project',
      summary: 'Store the credentials of a registry',
      tag,
      body: registryCredentials,
      answers: { 200: { description: 'Stored', schema: registrySchema } },
      async handle({ tx, project, param, body }) {
        const row = await putRegistry(context, tx, project.uid, param('host'), body)
        return { status: 200, body: registryView(row) }
      },
    }),
    writeRoute({
      method: 'delete',
      path: '/registries/{host}',
      access: 'project',
      summary: 'Forget the credentials of a registry',
      tag,
      answers: { 204: { description: 'Forgotten' } },
      async handle({ tx, project, param }) {
        await removeRegistry(tx, project.uid, param('host'))
        return { status: 204 }
      },
    }),
  ]
}
