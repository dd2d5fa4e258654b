import {
  listOf,
  nodeDrainRequest,
  nodePatch,
  nodeSpec,
  nodeView as nodeSchema,
  pageQuery,
  type NodeScheduling,
} from '@berth/contracts'
import { desired } from '@berth/db'
import { notFound } from '../api-error.ts'
import type { ApiContext } from '../context.ts'
import { listBody, pageOf } from '../http/cursor.ts'
import { entityTag } from '../http/entity-tag.ts'
import { changeNode, nodeView, registerNode, removeNode, type NodeChange } from '../operations/nodes.ts'
import { readRoute, writeRoute, type Answer, type Route } from './route.ts'

const tag = 'Nodes'
const shown = { description: 'The node', schema: nodeSchema, headers: ['ETag'] } as const
const accepted = { ...shown, description: 'Accepted: the node as it is to be' } as const
const unchanged = { ...shown, description: 'Nothing has changed' } as const
const registered = {
  description: 'Registered; its status tells when it is ready',
  schema: nodeSchema,
  headers: ['ETag', 'Location'],
} as const

function answer(status: number, picture: desired.NodePicture): Answer {
  return { status, headers: { etag: entityTag(picture.node) }, body: nodeView(picture) }
}

function changeAnswer({ picture, changed }: NodeChange): Answer {
  return answer(changed ? 202 : 200, picture)
}

export function nodeRoutes(context: ApiContext): Route[] {
  const schedulingRoute = (verb: string, scheduling: NodeScheduling, summary: string) =>
    writeRoute({
      method: 'post',
      path: `/nodes/{node}/${verb}`,
      access: 'platform',
      conditional: true,
      summary,
      tag,
      answers: { 200: unchanged, 202: accepted },
      handle: async ({ tx, param, ifMatch }) =>
        changeAnswer(await changeNode(context, tx, param('node'), { scheduling }, ifMatch)),
    })

  return [
    readRoute({
      path: '/nodes',
      access: 'platform',
      summary: 'List nodes by name',
      tag,
      query: pageQuery,
      answers: { 200: { description: 'A page of nodes', schema: listOf(nodeSchema) } },
      async handle({ db, query }) {
        const page = pageOf(query)
        const rows = await desired.listNodes(db, page)
        return { status: 200, body: listBody(rows, page, ({ node }) => node.name, nodeView) }
      },
    }),
    writeRoute({
      method: 'post',
      path: '/nodes',
      access: 'platform',
      summary: 'Register a Docker Engine as a node',
      tag,
      body: nodeSpec,
      answers: { 202: registered },
      async handle({ tx, body }) {
        const { headers, ...rest } = answer(202, await registerNode(context, tx, body))
        return { ...rest, headers: { ...headers, location: `/nodes/${body.name}` } }
      },
    }),
    readRoute({
      path: '/nodes/{node}',
      access: 'platform',
      summary: 'Read a node',
      tag,
      answers: { 200: shown },
      async handle({ db, param }) {
        const picture = await desired.findNode(db, param('node'))
        if (picture === undefined) throw notFound('node', param('node'))
        return answer(200, picture)
      },
    }),
    writeRoute({
      method: 'patch',
      path: '/nodes/{node}',
      access: 'platform',
      conditional: true,
      summary: 'Change a node with a JSON merge patch',
      tag,
      body: nodePatch,
      answers: { 200: unchanged, 202: accepted },
      handle: async ({ tx, param, body, ifMatch }) =>
        changeAnswer(await changeNode(context, tx, param('node'), body, ifMatch)),
    }),
    writeRoute({
      method: 'delete',
      path: '/nodes/{node}',
      access: 'platform',
      conditional: true,
      summary: 'Remove an empty node',
      tag,
      answers: { 202: { description: 'The node is being removed' } },
      async handle({ tx, param, ifMatch }) {
        await removeNode(tx, param('node'), ifMatch)
        return { status: 202 }
      },
    }),
    schedulingRoute('cordon', 'cordoned', 'Place nothing more on a node'),
    schedulingRoute('uncordon', 'active', 'Place on a node again'),
    writeRoute({
      method: 'post',
      path: '/nodes/{node}/drain',
      access: 'platform',
      conditional: true,
      summary: 'Move everything off a node',
      tag,
      body: nodeDrainRequest,
      answers: { 200: unchanged, 202: accepted },
      handle: async ({ tx, param, body, ifMatch }) =>
        changeAnswer(await changeNode(context, tx, param('node'), { scheduling: 'draining' }, ifMatch, body)),
    }),
  ]
}
