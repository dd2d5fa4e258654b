import { asc, eq, sql } from 'drizzle-orm'
import { afterAll, beforeAll, beforeEach, expect, inject, test } from 'vitest'
import { listServiceEvents } from '../desired/service-event-reads.ts'
import { acquireLease, LeaseLostError, type LeaseRef } from '../leases.ts'
import { serviceEvents } from '../schema.ts'
import { insertNode, insertReplica, insertRevision } from '../testing/builders.ts'
import { createTestDatabase, type TestDatabase } from '../testing/test-database.ts'
import { markReplicaFailed, markReplicaReady, markReplicaRestarting } from './replicas.ts'

const crash = { reason: 'AppCrashed', message: 'exit code 1' } as const
const oom = { reason: 'OutOfMemory', message: 'more than 64Mi' } as const

let database: TestDatabase
let lease: LeaseRef
let revision: Awaited<ReturnType<typeof insertRevision>>
let node: Awaited<ReturnType<typeof insertNode>>
let replica: Awaited<ReturnType<typeof insertReplica>>

beforeAll(async () => {
  database = await createTestDatabase(inject('postgresUrl'))
  const taken = await acquireLease(database.db, 'leader', 'test', 600_000)
  if (taken === null) throw new Error('the lease is held')
  lease = taken
})
afterAll(() => database.drop())

beforeEach(async () => {
  const { db } = database
  revision = await insertRevision(db)
  node = await insertNode(db)
  replica = await insertReplica(db, { revisionUid: revision.uid, nodeUid: node.uid })
})

const events = () => listServiceEvents(database.db, revision.serviceUid, { limit: 200 })

async function restart(why: typeof crash | typeof oom): Promise<void> {
  await markReplicaReady(database.db, lease, replica.id)
  await markReplicaRestarting(database.db, lease, replica.id, { ...why, inARow: 1 })
}

test('a restart is an event with its time, node and reason, and the same again is counted', async () => {
  await restart(crash)
  const [first] = await events()
  expect(first).toMatchObject({ kind: 'ReplicaRestarted', count: 1, node: node.name, ...crash })
  expect(first).toMatchObject({ revision: revision.name, replicaId: replica.id, firstAt: first?.at })
  await restart(crash)
  await restart({ ...crash, message: 'exit code 2' } as unknown as typeof crash)
  const [last, ...others] = await events()
  expect(others).toEqual([])
  expect(last).toMatchObject({ count: 3, message: 'exit code 2', firstAt: first?.firstAt })
  expect(last?.at.getTime()).toBeGreaterThanOrEqual(first?.at.getTime() ?? Infinity)
})

test('another reason, and the end of the replica, are events of their own, the latest first', async () => {
  await restart(crash)
  await restart(oom)
  await restart(crash)
  await markReplicaFailed(database.db, lease, replica.id, crash)
  const kinds = (await events()).map(({ kind, reason, count }) => `${kind} ${reason} ${count}`)
  expect(kinds).toEqual([
    'ReplicaFailed AppCrashed 1',
    'ReplicaRestarted AppCrashed 2',
    'ReplicaRestarted OutOfMemory 1',
  ])
})

test('what happens again after more than ten minutes is another event', async () => {
  await restart(crash)
  await database.db.execute(sql`update service_events set at = at - interval '11 minutes'`)
  await restart(crash)
  expect((await events()).map(({ count }) => count)).toEqual([1, 1])
})

test('the hundred latest events of a service are kept, and all of another one', async () => {
  const { db } = database
  const other = await insertRevision(db)
  const row = { kind: 'ReplicaFailed', replicaId: 'rep-x', ...crash, at: new Date(0) } as const
  const ofBoth = [revision, other].flatMap(({ serviceUid, name }) =>
    Array.from({ length: 100 }, () => ({ ...row, serviceUid, revision: name })),
  )
  await db.insert(serviceEvents).values(ofBoth)
  await restart(crash)
  expect(await events()).toHaveLength(100)
  expect((await events())[0]).toMatchObject({ kind: 'ReplicaRestarted' })
  expect(await listServiceEvents(db, other.serviceUid, { limit: 200 })).toHaveLength(100)
})

test('a move that changes nothing, or of a stale leader, is no event', async () => {
  const { db } = database
  expect(await markReplicaRestarting(db, lease, 'rep-none', { ...crash, inARow: 1 })).toBe(false)
  await markReplicaFailed(db, lease, replica.id, crash)
  await markReplicaFailed(db, lease, replica.id, crash)
  const stale = { ...lease, epoch: 0 }
  await expect(markReplicaFailed(db, stale, replica.id, crash)).rejects.toBeInstanceOf(LeaseLostError)
  const rows = await db
    .select()
    .from(serviceEvents)
    .where(eq(serviceEvents.serviceUid, revision.serviceUid))
    .orderBy(asc(serviceEvents.id))
  expect(rows).toHaveLength(1)
})
