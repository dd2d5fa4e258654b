import { listOf, pageQuery, poolPatch, poolSpec, poolView as poolSchema } from '@berth/contracts'
import { desired } from '@berth/db'
import { notFound } from '../api-error.ts'
import { listBody, pageOf } from '../http/cursor.ts'
import { entityTag } from '../http/entity-tag.ts'
import { changePool, createPool, poolView } from '../operations/pools.ts'
import { readRoute, writeRoute, type Answer, type Route } from './route.ts'

const tag = 'Pools'
const shown = { description: 'The pool', schema: poolSchema, headers: ['ETag'] } as const

function answer(status: number, pool: desired.PoolRow): Answer {
  return { status, headers: { etag: entityTag(pool) }, body: poolView(pool) }
}

export function poolRoutes(): Route[] {
  return [
    readRoute({
      path: '/pools',
      access: 'platform',
      summary: 'List pools by name',
      tag,
      query: pageQuery,
      answers: { 200: { description: 'A page of pools', schema: listOf(poolSchema) } },
      async handle({ db, query }) {
        const page = pageOf(query)
        const rows = await desired.listPools(db, page)
        return { status: 200, body: listBody(rows, page, ({ name }) => name, poolView) }
      },
    }),
    writeRoute({
      method: 'post',
      path: '/pools',
      access: 'platform',
      summary: 'Make a pool of nodes',
      tag,
      body: poolSpec,
      answers: { 201: { ...shown, headers: ['ETag', 'Location'] } },
      async handle({ tx, body }) {
        const { headers, ...rest } = answer(201, await createPool(tx, body))
        return { ...rest, headers: { ...headers, location: `/pools/${body.name}` } }
      },
    }),
    readRoute({
      path: '/pools/{pool}',
      access: 'platform',
      summary: 'Read a pool',
      tag,
      answers: { 200: shown },
      async handle({ db, param }) {
        const pool = await desired.findPool(db, param('pool'))
        if (pool === undefined) throw notFound('pool', param('pool'))
        return answer(200, pool)
      },
    }),
    writeRoute({
      method: 'patch',
      path: '/pools/{pool}',
      access: 'platform',
      conditional: true,
      summary: 'Change a pool with a JSON merge patch',
      tag,
      body: poolPatch,
      answers: { 200: shown },
      handle: async ({ tx, param, body, ifMatch }) =>
        answer(200, await changePool(tx, param('pool'), body, ifMatch)),
    }),
  ]
}
