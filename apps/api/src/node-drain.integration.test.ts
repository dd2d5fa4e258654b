import type { NodeUid, NodeView, RevisionUid } from '@berth/contracts'
import { insertNode, insertReplica, insertRevision, insertService } from '@berth/db/testing'
import { afterEach, beforeEach, describe, expect, inject, test } from 'vitest'
import { startApi, type StartedApi } from './testing/started-api.ts'

const mebibyte = 1024 ** 2

let api: StartedApi
let n1: NodeUid
let revision: RevisionUid
beforeEach(async () => {
  api = await startApi(inject('postgresUrl'))
  n1 = (await insertNode(api.db, { name: 'n1' })).uid
  const service = await insertService(api.db, { name: 'hello' })
  revision = (await insertRevision(api.db, { serviceUid: service.uid })).uid
})
afterEach(() => api.stop())

const drain = (body?: unknown) => api.call('POST', '/nodes/n1/drain', body === undefined ? {} : { body })
const readNode = async () => (await api.call('GET', '/nodes/n1')).json<NodeView>()

function replica(change: Partial<Parameters<typeof insertReplica>[1]> = {}) {
  return insertReplica(api.db, { revisionUid: revision, nodeUid: n1, state: 'ready', ...change })
}

/** Another node with so much memory to give. */
function roomy(name: string, freeMebibytes: number, change: Parameters<typeof insertNode>[1] = {}) {
  const capacity = { cpuMillis: 2000, memoryBytes: (512 + freeMebibytes) * mebibyte }
  return insertNode(api.db, { name, address: '127.0.0.2', capacity, ...change })
}

describe('a drain', () => {
  test('is refused when what runs there would not fit elsewhere, and names what is missing', async () => {
    await roomy('n2', 100)
    await roomy('n3', 50)
    await replica()
    await replica()
    const answer = await drain()
    expect(answer.json()).toMatchObject({ status: 409, code: 'no-room' })
    expect(answer.json<{ detail: string }>().detail).toBe(
      'The node "n1" is not drained: hello-00001 (1 of 2 replicas): memory 64Mi asked, largest free 50Mi on n3. ' +
        'Make room, or POST /nodes/n1/drain with {"force": true}.',
    )
    expect(await readNode()).toMatchObject({ scheduling: 'active', drain: null })
    expect((await drain({ force: true })).status).toBe(202)
    expect(await readNode()).toMatchObject({ scheduling: 'draining' })
  })

  test('is refused through PATCH for the same reason', async () => {
    await roomy('n2', 10)
    await replica()
    const answer = await api.call('PATCH', '/nodes/n1', { body: { scheduling: 'draining' } })
    expect(answer.json()).toMatchObject({ code: 'no-room' })
  })

  test('counts what others have reserved elsewhere', async () => {
    const n2 = await roomy('n2', 100)
    await replica()
    await replica({ nodeUid: n2.uid })
    expect((await drain()).json()).toMatchObject({ code: 'no-room' })
  })

  test('is refused where a volume keeps a replica on the node', async () => {
    await roomy('n2', 1024)
    await api.db.execute(
      `update revisions set template = jsonb_set(template, '{containers,0,volumes}',
       '[{"name": "data", "mountPath": "/data"}]')`,
    )
    await replica()
    const { detail } = (await drain()).json<{ detail: string }>()
    expect(detail).toContain('hello-00001: none of 1 node fits: 1 node: volume "data" is on n1')
  })

  test('needs no room for what is idle', async () => {
    await roomy('n2', 10)
    await replica({ rung: 'frozen' })
    await replica({ rung: 'parked' })
    expect((await drain()).status).toBe(202)
  })

  test.each([
    ['is down', {}, { reachability: 'down' as const }],
    ['is cordoned', { scheduling: 'cordoned' as const }, {}],
  ])('of the last node of a pool is refused where the other one %s', async (_what, change, status) => {
    await insertNode(api.db, { name: 'n2', address: '127.0.0.2', ...change }, status)
    expect((await drain()).status).toBe(202)
    await api.call('POST', '/nodes/n1/uncordon')
    await replica({ rung: 'parked' })
    const refused = (await drain()).json<{ code: string; detail: string }>()
    expect(refused.code).toBe('no-room')
    expect(refused.detail).toContain('the last node of the pool "default" that takes replicas')
    expect((await drain({ force: true })).status).toBe(202)
  })

  test('of an unknown node, and with a body that says something else, is refused', async () => {
    expect((await api.call('POST', '/nodes/nowhere/drain')).status).toBe(404)
    expect((await drain({ force: 'yes' })).json()).toMatchObject({ status: 422, errors: [{ path: 'force' }] })
    expect((await drain({ now: true })).json()).toMatchObject({ status: 422, errors: [{ path: 'now' }] })
  })
})

describe('a drained node shows', () => {
  beforeEach(async () => {
    await roomy('n2', 1024)
  })

  const age = (seconds: number) =>
    api.db.execute(`update nodes set drain_started_at = now() - interval '${seconds} s' where name = 'n1'`)

  test('what has moved, what is left, and when it will be done at this pace', async () => {
    const replicas = [await replica(), await replica(), await replica()]
    expect((await drain()).json()).toMatchObject({
      drain: {
        total: 3,
        moved: 0,
        left: 3,
        etaSeconds: null,
        etaFrom: null,
        waitingFor: expect.stringContaining('hello: '),
      },
    })
    await age(60)
    await api.db.execute(`delete from replicas where id = '${replicas[0]?.id}'`)
    await api.db.execute(`update replicas set state = 'draining' where id = '${replicas[1]?.id}'`)
    const { drain: progress } = await readNode()
    expect(progress).toMatchObject({ total: 3, moved: 1, left: 2, etaFrom: 'pace' })
    expect(progress?.etaSeconds).toBeGreaterThanOrEqual(120)
    expect(progress?.etaSeconds).toBeLessThan(180)
    await api.db.execute(`delete from replicas`)
    expect((await readNode()).drain).toMatchObject({ moved: 3, left: 0, waitingFor: null, etaSeconds: 0 })
    await api.call('POST', '/nodes/n1/uncordon')
    expect((await readNode()).drain).toBeNull()
  })

  test('how long the starts will take as soon as the first is under way', async () => {
    await api.db.execute(`update revisions set start_ms = '{"cold": 120000}'`)
    await api.db.execute(`update services set max_scale = 4`)
    const [first] = [await replica(), await replica(), await replica()]
    expect((await drain()).json()).toMatchObject({ drain: { etaSeconds: null, etaFrom: null } })
    const { rows } = await api.db.execute(`select uid from nodes where name = 'n2'`)
    await replica({ nodeUid: rows[0]?.['uid'] as string, state: 'starting', replaces: first.id })
    const { drain: begun } = await readNode()
    expect(begun).toMatchObject({ total: 3, moved: 0, left: 3, etaFrom: 'starts' })
    // Two at a time: five may stand, and three do beside the new one.
    expect(begun?.etaSeconds).toBeGreaterThan(180)
    expect(begun?.etaSeconds).toBeLessThanOrEqual(240)
  })

  test.each([
    ['hello: a node for a replica in its place', async () => {}],
    [
      'hello: a replica to start on n2',
      async (of: string) => {
        const { rows } = await api.db.execute(`select uid from nodes where name = 'n2'`)
        await replica({ nodeUid: rows[0]?.['uid'] as string, state: 'starting', replaces: of })
      },
    ],
    [
      'hello: its deployment to end',
      () =>
        api.db.execute(
          `insert into deployments (id, project_uid, service_uid, service_name, generation, trigger, created_by)
           select 'dpl-1', project_uid, uid, name, 1, 'create', 'test' from services`,
        ),
    ],
    ['hello: requests to end', () => api.db.execute(`update replicas set state = 'draining'`)],
    [
      'hello: a start that is under way to end',
      () => api.db.execute(`update replicas set state = 'starting'`),
    ],
  ])('that it waits for %s', async (waitingFor, become) => {
    const { id } = await replica()
    await drain()
    await become(id)
    expect((await readNode()).drain).toMatchObject({ left: 1, waitingFor })
  })

  test('no end as long as what is left finds no node', async () => {
    const { id } = await replica()
    await replica()
    await drain()
    await age(60)
    await api.db.execute(`delete from replicas where id = '${id}'`)
    expect((await readNode()).drain).toMatchObject({ moved: 1, left: 1, etaSeconds: null })
  })
})
