import {
  deploymentEventView,
  deploymentView as deploymentSchema,
  listOf,
  pageQuery,
  promoteRequest,
} from '@berth/contracts'
import { desired } from '@berth/db'
import { z } from 'zod'
import { notFound } from '../api-error.ts'
import { listBody, numberedPageOf } from '../http/cursor.ts'
import { eventStream } from '../http/event-stream.ts'
import { cancelDeployment, deploymentView, followDeployment } from '../operations/deployments.ts'
import {
  abortDeployment,
  pauseDeployment,
  promoteDeployment,
  resumeDeployment,
} from '../operations/rollouts.ts'
import { serviceOf } from './revisions.ts'
import { readRoute, writeRoute, type Answer, type Route } from './route.ts'

const tag = 'Deployments'

export function deploymentRoutes(): Route[] {
  return [
    readRoute({
      path: '/services/{service}/deployments',
      access: 'project',
      summary: 'List deployments of a service, newest first',
      tag,
      query: pageQuery,
      answers: { 200: { description: 'A page of deployments', schema: listOf(deploymentSchema) } },
      async handle({ db, project, param, query }) {
        const service = await serviceOf(db, project.uid, param('service'))
        const page = numberedPageOf(query)
        const rows = await desired.listDeployments(db, service.uid, page)
        return { status: 200, body: listBody(rows, page, ({ generation }) => generation, deploymentView) }
      },
    }),
    readRoute({
      path: '/deployments/{deployment}',
      access: 'project',
      summary: 'Read a deployment',
      tag,
      answers: { 200: { description: 'The deployment', schema: deploymentSchema } },
      async handle({ db, project, param }) {
        const row = await desired.findDeployment(db, project.uid, param('deployment'))
        if (row === undefined) throw notFound('deployment', param('deployment'))
        return { status: 200, body: deploymentView(row) }
      },
    }),
    readRoute({
      path: '/deployments/{deployment}/events',
      access: 'project',
      summary: 'Follow a deployment: events `progress`, then `end` with the deployment',
      tag,
      headers: z.object({ 'Last-Event-ID': z.string().optional().describe('Go on behind this event') }),
      answers: {
        200: {
          description: 'Server-sent events, each with an id',
          content: { 'text/event-stream': deploymentEventView },
        },
      },
      async handle({ db, project, param, header, stillValid }) {
        const id = param('deployment')
        const row = await desired.findDeployment(db, project.uid, id)
        if (row === undefined) throw notFound('deployment', id)
        const last = Number(header('last-event-id') ?? '0')
        const after = Number.isSafeInteger(last) && last > 0 ? last : 0
        return eventStream((signal) => followDeployment(db, project.uid, id, after, signal), stillValid)
      },
    }),
    writeRoute({
      method: 'post',
      path: '/deployments/{deployment}/cancel',
      access: 'project',
      summary: 'Stop a deployment; traffic stays where it is',
      tag,
      answers: { 202: { description: 'The deployment, which is being stopped', schema: deploymentSchema } },
      async handle({ tx, project, param }) {
        const row = await cancelDeployment(tx, project.uid, param('deployment'))
        const wake = { service: row.serviceUid, reason: 'cancelled' } as const
        return { status: 202, body: deploymentView(row), wake }
      },
    }),
    writeRoute({
      method: 'post',
      path: '/deployments/{deployment}/promote',
      access: 'project',
      summary: 'Take the next step of a rollout now, or go straight to a percent',
      tag,
      body: promoteRequest,
      answers: { 202: { description: 'The deployment', schema: deploymentSchema } },
      async handle({ tx, project, param, body }) {
        return told(await promoteDeployment(tx, project.uid, param('deployment'), body.percent))
      },
    }),
    ...[
      { verb: 'pause', act: pauseDeployment, summary: 'Let a rollout take no further step by itself' },
      { verb: 'resume', act: resumeDeployment, summary: 'Let a paused rollout go on' },
      { verb: 'abort', act: abortDeployment, summary: 'Send all traffic back to what served before' },
    ].map(({ verb, act, summary }) =>
      writeRoute({
        method: 'post',
        path: `/deployments/{deployment}/${verb}`,
        access: 'project',
        summary,
        tag,
        answers: { 202: { description: 'The deployment', schema: deploymentSchema } },
        handle: async ({ tx, project, param }) => told(await act(tx, project.uid, param('deployment'))),
      }),
    ),
  ]
}

function told(row: desired.DeploymentRow): Answer {
  return { status: 202, body: deploymentView(row), wake: { service: row.serviceUid, reason: 'updated' } }
}
