import { listOf, pageQuery, projectSpec, projectView as projectSchema } from '@berth/contracts'
import { desired } from '@berth/db'
import { listBody, pageOf } from '../http/cursor.ts'
import { createProject, projectView, removeProject } from '../operations/projects.ts'
import { readRoute, writeRoute, type Route } from './route.ts'

const tag = 'Projects'

export function projectRoutes(): Route[] {
  return [
    readRoute({
      path: '/projects',
      access: 'platform',
      summary: 'List projects by name',
      tag,
      query: pageQuery,
      answers: { 200: { description: 'A page of projects', schema: listOf(projectSchema) } },
      async handle({ db, query }) {
        const page = pageOf(query)
        const rows = await desired.listProjects(db, page)
        return { status: 200, body: listBody(rows, page, ({ name }) => name, projectView) }
      },
    }),
    writeRoute({
      method: 'post',
      path: '/projects',
      access: 'platform',
      summary: 'Make a project',
      tag,
      body: projectSpec,
      answers: { 201: { description: 'The project', schema: projectSchema, headers: ['Location'] } },
      async handle({ tx, body }) {
        const project = await createProject(tx, body)
        const headers = { location: `/projects/${project.name}` }
        return { status: 201, headers, body: projectView(project) }
      },
    }),
    writeRoute({
      method: 'delete',
      path: '/projects/{name}',
      access: 'platform',
      summary: 'Delete a project without services, with its tokens and registry credentials',
      tag,
      answers: { 204: { description: 'Gone' } },
      async handle({ tx, param }) {
        await removeProject(tx, param('name'))
        return { status: 204 }
      },
    }),
  ]
}
