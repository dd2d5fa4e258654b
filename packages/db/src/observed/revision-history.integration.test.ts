import { newId } from '@berth/contracts'
import { eq } from 'drizzle-orm'
import { afterAll, beforeAll, beforeEach, expect, inject, test } from 'vitest'
import { withTransaction } from '../connection.ts'
import { acquireLease, LeaseLostError, type LeaseRef } from '../leases.ts'
import { deployments, replicas, revisions, serviceRoutes, services, serviceStatus } from '../schema.ts'
import { insertNode, insertReplica, insertRevision, insertService } from '../testing/builders.ts'
import { createTestDatabase, type TestDatabase } from '../testing/test-database.ts'
import { collectRevisions } from './revision-history.ts'

let database: TestDatabase
let lease: LeaseRef
let service: Awaited<ReturnType<typeof insertService>>
/** By number. */
let made: Map<number, Awaited<ReturnType<typeof insertRevision>>>

beforeAll(async () => {
  database = await createTestDatabase(inject('postgresUrl'))
  const taken = await acquireLease(database.db, 'leader', 'a', 600_000)
  if (!taken) throw new Error('a new database has a leader')
  lease = taken
})
afterAll(() => database.drop())

/** Six revisions, of which the newest three are to be kept. */
beforeEach(async () => {
  const { db } = database
  service = await insertService(db, { revisionHistoryLimit: 3 })
  made = new Map()
  for (let number = 1; number <= 6; number += 1)
    made.set(number, await insertRevision(db, { serviceUid: service.uid, number, readyAt: new Date() }))
})

function revision(number: number) {
  const found = made.get(number)
  if (found === undefined) throw new Error('there are six revisions')
  return found
}

async function kept(): Promise<number[]> {
  const rows = await database.db.select().from(revisions).where(eq(revisions.serviceUid, service.uid))
  return rows.map(({ number }) => number).toSorted((a, b) => a - b)
}

const target = (number: number, percent: number, tag: string | null = null) => ({
  revision: revision(number).name,
  percent,
  tag,
})
const setService = (change: Partial<typeof services.$inferInsert>) =>
  database.db.update(services).set(change).where(eq(services.uid, service.uid))
const setStatus = (change: Partial<typeof serviceStatus.$inferInsert>) =>
  database.db.update(serviceStatus).set(change).where(eq(serviceStatus.serviceUid, service.uid))
const insertDeployment = (change: Partial<typeof deployments.$inferInsert>) =>
  database.db.insert(deployments).values({
    id: newId('DeploymentId'),
    projectUid: service.projectUid,
    serviceUid: service.uid,
    serviceName: service.name,
    generation: 1,
    trigger: 'update',
    createdBy: 'test',
    ...change,
  })

test('the newest are kept, the others go', async () => {
  expect(await collectRevisions(database.db, lease)).toBe(3)
  expect(await kept()).toEqual([4, 5, 6])
  expect(await collectRevisions(database.db, lease)).toBe(0)
})

test('a service within its history keeps all', async () => {
  await setService({ revisionHistoryLimit: 6 })
  await collectRevisions(database.db, lease)
  expect(await kept()).toEqual([1, 2, 3, 4, 5, 6])
})

async function aReplicaOf(number: number, state: 'ready' | 'failed') {
  const { uid: nodeUid } = await insertNode(database.db)
  return insertReplica(database.db, { revisionUid: revision(number).uid, nodeUid, state })
}

const aRolloutFrom = (number: number) => {
  const now = new Date().toISOString()
  return {
    previous: revision(number).name,
    percent: 100,
    startedAt: now,
    shiftedAt: now,
    acknowledgedAt: now,
  }
}

const uses: Record<string, () => Promise<unknown>> = {
  'has traffic': () => setStatus({ traffic: [target(6, 99), target(2, 1)] }),
  'is tagged': () => setStatus({ traffic: [target(6, 100), target(2, 0, 'old')] }),
  'is asked for in the traffic': () => setService({ traffic: [target(2, 100)] }),
  'is pinned by a rollback': () => setService({ pinnedRevision: revision(2).name }),
  'is the latest that was made': () => setStatus({ latestCreatedRevision: revision(2).name }),
  'is the latest that was ready': () => setStatus({ latestReadyRevision: revision(2).name }),
  'has a ready replica': () => aReplicaOf(2, 'ready'),
  'has a failed replica': () => aReplicaOf(2, 'failed'),
  'is being deployed': () => insertDeployment({ revisionUid: revision(2).uid }),
  'is what a rollout goes back to': () => insertDeployment({ rollout: aRolloutFrom(2) }),
  'is what a rollout may go back to after its end': () =>
    insertDeployment({ rollout: aRolloutFrom(2), phase: 'succeeded', finishedAt: new Date() }),
  'is still in the table of a router': () =>
    database.db.insert(serviceRoutes).values({
      serviceUid: service.uid,
      targets: [{ revision: revision(2).uid, percent: 100 }],
      epoch: 1,
    }),
}

test.each(Object.entries(uses))('one that %s is kept', async (_why, use) => {
  await use()
  await collectRevisions(database.db, lease)
  expect(await kept()).toEqual([2, 4, 5, 6])
})

test('one that an open deployment is going to bring back by its name is kept', async () => {
  const name = `${service.name}-blue`
  await database.db
    .update(revisions)
    .set({ name })
    .where(eq(revisions.uid, revision(2).uid))
  await insertDeployment({ revisionSuffix: 'blue' })
  await collectRevisions(database.db, lease)
  expect(await kept()).toEqual([2, 4, 5, 6])
})

test('a deployment that has ended holds nothing, and keeps the name of what it brought', async () => {
  const { uid, name } = revision(2)
  await insertDeployment({ revisionUid: uid, revisionName: name, phase: 'succeeded', finishedAt: new Date() })
  await collectRevisions(database.db, lease)
  expect(await kept()).toEqual([4, 5, 6])
  const rows = await database.db.select().from(deployments).where(eq(deployments.serviceUid, service.uid))
  expect(rows).toMatchObject([{ revisionName: name }])
})

test('a rollout that ended long ago goes back to nothing', async () => {
  const finishedAt = new Date(Date.now() - 11 * 60_000)
  await insertDeployment({ rollout: aRolloutFrom(2), phase: 'succeeded', finishedAt })
  await collectRevisions(database.db, lease)
  expect(await kept()).toEqual([4, 5, 6])
})

test('a replica that is forgotten frees its revision', async () => {
  const { id } = await aReplicaOf(2, 'failed')
  await database.db.delete(replicas).where(eq(replicas.id, id))
  await collectRevisions(database.db, lease)
  expect(await kept()).toEqual([4, 5, 6])
})

test('a service that somebody is changing is left for the next round', async () => {
  await withTransaction(database.db, async (tx) => {
    await tx.select().from(services).where(eq(services.uid, service.uid)).for('update')
    expect(await collectRevisions(database.db, lease)).toBe(0)
  })
  expect(await collectRevisions(database.db, lease)).toBe(3)
})

test('nothing goes under a lost lease', async () => {
  await expect(collectRevisions(database.db, { ...lease, epoch: lease.epoch - 1 })).rejects.toThrow(
    LeaseLostError,
  )
  expect(await kept()).toEqual([1, 2, 3, 4, 5, 6])
})
