import {
  listOf,
  pageQuery,
  rollbackRequest,
  serviceReplacement,
  serviceSpec,
  serviceView as serviceSchema,
  trafficSpec,
  type ReconcileReason,
} from '@berth/contracts'
import { desired } from '@berth/db'
import { z } from 'zod'
import { notFound } from '../api-error.ts'
import type { ApiContext } from '../context.ts'
import { listBody, pageOf } from '../http/cursor.ts'
import { entityTag } from '../http/entity-tag.ts'
import { serviceView } from '../operations/service-view.ts'
import {
  createService,
  deleteService,
  patchService,
  replaceService,
  type ServiceChange,
} from '../operations/services.ts'
import { rollBack, setTraffic } from '../operations/traffic.ts'
import { readRoute, writeRoute, type Answer, type Route, type WriteRequest } from './route.ts'

const tag = 'Services'
const accepted = {
  description: 'Accepted: the service with its newest deployment',
  schema: serviceSchema,
  headers: ['ETag'],
} as const
const created = { ...accepted, headers: ['ETag', 'Location'] } as const
const unchanged = { ...accepted, description: 'Nothing has changed' } as const

export function serviceRoutes(context: ApiContext): Route[] {
  const answer = ({ prefix }: { prefix: string }, change: ServiceChange, reason: ReconcileReason): Answer => {
    const { service } = change
    const location = { location: `${prefix}/services/${service.name}` }
    return {
      status: change.changed ? 202 : 200,
      headers: { etag: entityTag(service), ...(change.created ? location : {}) },
      body: service,
      ...(change.changed ? { wake: { service: service.uid, reason } } : {}),
    }
  }
  const nameOf = (request: WriteRequest<unknown>) => request.param('service')

  return [
    writeRoute({
      method: 'post',
      path: '/services',
      access: 'project',
      summary: 'Deploy a new service',
      tag,
      documentedBody: serviceSpec,
      answers: { 202: created },
      handle: async (request) =>
        answer(request, await createService(context, request.tx, request, request.body), 'created'),
    }),
    readRoute({
      path: '/services',
      access: 'project',
      summary: 'List services by name',
      tag,
      query: pageQuery,
      answers: { 200: { description: 'A page of services', schema: listOf(serviceSchema) } },
      async handle({ db, project, query }) {
        const page = pageOf(query)
        const rows = await desired.listServices(db, project.uid, page)
        const view = (row: desired.ServicePicture) => serviceView(context, project.name, row)
        return { status: 200, body: listBody(rows, page, ({ service }) => service.name, view) }
      },
    }),
    readRoute({
      path: '/services/{service}',
      access: 'project',
      summary: 'Read a service',
      tag,
      answers: { 200: { ...accepted, description: 'The service' } },
      async handle({ db, project, param }) {
        const picture = await desired.findService(db, project.uid, param('service'))
        if (picture === undefined) throw notFound('service', param('service'))
        const headers = { etag: entityTag(picture.service) }
        return { status: 200, headers, body: serviceView(context, project.name, picture) }
      },
    }),
    writeRoute({
      method: 'put',
      path: '/services/{service}',
      access: 'project',
      conditional: true,
      summary: 'Create a service or replace its spec',
      tag,
      documentedBody: serviceReplacement,
      answers: { 200: unchanged, 202: created },
      async handle(request) {
        const change = await replaceService(context, request.tx, request, nameOf(request), request.body)
        return answer(request, change, change.created ? 'created' : 'updated')
      },
    }),
    writeRoute({
      method: 'patch',
      path: '/services/{service}',
      access: 'project',
      conditional: true,
      summary: 'Change a service with a JSON merge patch on its spec',
      tag,
      documentedBody: z.looseObject({}).describe('A JSON merge patch (RFC 7396) of ServiceSpec'),
      answers: { 200: unchanged, 202: accepted },
      handle: async (request) =>
        answer(
          request,
          await patchService(context, request.tx, request, nameOf(request), request.body),
          'updated',
        ),
    }),
    writeRoute({
      method: 'delete',
      path: '/services/{service}',
      access: 'project',
      conditional: true,
      summary: 'Delete a service; it is shown until it is gone',
      tag,
      answers: { 202: { ...accepted, description: 'The service, which is being deleted' } },
      handle: async (request) =>
        answer(request, await deleteService(context, request.tx, request, nameOf(request)), 'deleted'),
    }),
    writeRoute({
      method: 'put',
      path: '/services/{service}/traffic',
      access: 'project',
      conditional: true,
      summary: 'Split traffic between revisions; percentages sum to 100',
      tag,
      body: trafficSpec,
      answers: { 200: unchanged, 202: accepted },
      handle: async (request) =>
        answer(
          request,
          await setTraffic(context, request.tx, request, nameOf(request), request.body),
          'updated',
        ),
    }),
    writeRoute({
      method: 'post',
      path: '/services/{service}/rollback',
      access: 'project',
      conditional: true,
      summary: 'Send all traffic to an older revision until the next deployment',
      tag,
      body: rollbackRequest,
      answers: { 202: accepted },
      handle: async (request) =>
        answer(
          request,
          await rollBack(context, request.tx, request, nameOf(request), request.body.revision),
          'updated',
        ),
    }),
  ]
}
