import {
  explanationView,
  listOf,
  logLine,
  logQuery,
  pageQuery,
  replicaView as replicaSchema,
  revisionView as revisionSchema,
  serviceEventView as eventSchema,
} from '@berth/contracts'
import { desired, type Database } from '@berth/db'
import { z } from 'zod'
import { notFound } from '../api-error.ts'
import type { ApiContext } from '../context.ts'
import { explainService } from '../explain/explain-service.ts'
import { listBody, numberedPageOf, pageOf } from '../http/cursor.ts'
import { eventStream, textStream } from '../http/event-stream.ts'
import { openServiceLogs } from '../operations/logs.ts'
import { replicaView, revisionView, serviceEventView } from '../operations/revision-views.ts'
import { readRoute, type Route } from './route.ts'

/** What there is of a service: its revisions, its replicas, what befell them and what they print. */
export function revisionRoutes(context: ApiContext): Route[] {
  return [
    readRoute({
      path: '/services/{service}/revisions',
      access: 'project',
      summary: 'List revisions, newest first',
      tag: 'Revisions',
      query: pageQuery,
      answers: { 200: { description: 'A page of revisions', schema: listOf(revisionSchema) } },
      async handle({ db, project, param, query }) {
        const service = await serviceOf(db, project.uid, param('service'))
        const page = numberedPageOf(query)
        const rows = await desired.listServiceRevisions(db, service.uid, page)
        const view = (row: desired.RevisionRow) => revisionView(service.name, row)
        return { status: 200, body: listBody(rows, page, ({ number }) => number, view) }
      },
    }),
    readRoute({
      path: '/services/{service}/revisions/{revision}',
      access: 'project',
      summary: 'Read a revision',
      tag: 'Revisions',
      answers: { 200: { description: 'The revision', schema: revisionSchema, headers: ['ETag'] } },
      async handle({ db, project, param }) {
        const service = await serviceOf(db, project.uid, param('service'))
        const row = await desired.findServiceRevision(db, service.uid, param('revision'))
        if (row === undefined) throw notFound('revision', param('revision'))
        const headers = { etag: `"${row.uid}:1"` }
        return { status: 200, headers, body: revisionView(service.name, row) }
      },
    }),
    readRoute({
      path: '/services/{service}/replicas',
      access: 'project',
      summary: 'List replicas, failed ones included until they are collected',
      tag: 'Replicas',
      query: pageQuery,
      answers: { 200: { description: 'A page of replicas', schema: listOf(replicaSchema) } },
      async handle({ db, project, param, query }) {
        const service = await serviceOf(db, project.uid, param('service'))
        const page = pageOf(query)
        const rows = await desired.listServiceReplicas(db, service.uid, page)
        const view = (row: desired.ReplicaPicture) => replicaView(service.name, row)
        return { status: 200, body: listBody(rows, page, ({ replica }) => replica.id, view) }
      },
    }),
    readRoute({
      path: '/services/{service}/events',
      access: 'project',
      summary: 'List restarts and failures of replicas, the latest first; repeated ones are counted',
      tag: 'Replicas',
      query: pageQuery,
      answers: { 200: { description: 'A page of events', schema: listOf(eventSchema) } },
      async handle({ db, project, param, query }) {
        const service = await serviceOf(db, project.uid, param('service'))
        const page = numberedPageOf(query)
        const rows = await desired.listServiceEvents(db, service.uid, page)
        return { status: 200, body: listBody(rows, page, ({ id }) => id, serviceEventView) }
      },
    }),
    readRoute({
      path: '/services/{service}/explain',
      access: 'project',
      summary: 'Say why a service is as it is, and what to try next',
      tag: 'Services',
      answers: { 200: { description: 'What is so, in sentences', schema: explanationView } },
      async handle({ db, project, param, header, prefix }) {
        // A host that is not this API's own was refused before.
        const origin = `http://${header('host') ?? 'localhost'}`
        const about = { project, service: param('service'), origin, prefix }
        return { status: 200, body: await explainService(context, db, about) }
      },
    }),
    readRoute({
      path: '/services/{service}/logs',
      access: 'project',
      summary: 'Read what replicas print: plain text, or server-sent events where the client accepts them',
      tag: 'Replicas',
      query: logQuery,
      answers: {
        200: {
          description: 'Lines as they were printed, or an event `log` for each',
          content: { 'text/plain': z.string(), 'text/event-stream': logLine },
        },
      },
      async handle({ db, project, param, query, header, stillValid }) {
        const open = await openServiceLogs(context, db, project.uid, param('service'), query)
        if ((header('accept') ?? '').includes('text/event-stream'))
          return eventStream(async function* (signal) {
            for await (const line of open(signal)) yield { event: 'log', data: JSON.stringify(line) }
          }, stillValid)
        return textStream(async function* (signal) {
          for await (const { line } of open(signal)) yield `${line}\n`
        }, stillValid)
      },
    }),
  ]
}

export async function serviceOf(db: Database, projectUid: string, name: string): Promise<desired.ServiceRow> {
  const picture = await desired.findService(db, projectUid, name)
  if (picture === undefined) throw notFound('service', name)
  return picture.service
}
