import { afterAll, beforeAll, beforeEach, expect, inject, test } from 'vitest'
import { acquireLease, LeaseLostError, type LeaseRef } from '../leases.ts'
import { listenForServiceChanges } from '../notify.ts'
import { insertNode, insertReplica, insertRevision } from '../testing/builders.ts'
import { createTestDatabase, type TestDatabase } from '../testing/test-database.ts'
import {
  forgetContainer,
  markReplicaDraining,
  markReplicaFailed,
  markReplicaReady,
  markReplicaRestarting,
  readReplica,
  recordContainers,
  removeReplica,
  replicasOfService,
  replicasOnNode,
  setReplicaRung,
} from './replicas.ts'

const why = { reason: 'AppCrashed', message: 'exit code 1' } as const
let database: TestDatabase
let lease: LeaseRef
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
  const [revision, node] = [await insertRevision(db), await insertNode(db)]
  replica = await insertReplica(db, { revisionUid: revision.uid, nodeUid: node.uid })
})

test('a replica goes from starting over ready and draining to nothing', async () => {
  const { db } = database
  expect(await markReplicaReady(db, lease, replica.id)).toBe(true)
  expect(await readReplica(db, replica.id)).toMatchObject({
    state: 'ready',
    readyAt: expect.any(Date) as Date,
  })
  expect(await setReplicaRung(db, lease, replica.id, 'frozen')).toBe(true)
  expect(await readReplica(db, replica.id)).toMatchObject({ state: 'ready', rung: 'frozen' })
  expect(await markReplicaDraining(db, lease, replica.id)).toBe(true)
  expect(await removeReplica(db, lease, replica.id)).toBe(true)
  expect(await readReplica(db, replica.id)).toBeNull()
  expect(await removeReplica(db, lease, replica.id)).toBe(false)
})

test('moves that are not legal change nothing', async () => {
  const { db } = database
  await markReplicaDraining(db, lease, replica.id)
  expect(await markReplicaReady(db, lease, replica.id)).toBe(false)
  expect(await markReplicaRestarting(db, lease, replica.id, { ...why, inARow: 2 })).toBe(false)
  expect(await markReplicaFailed(db, lease, replica.id, why)).toBe(true)
  expect(await markReplicaDraining(db, lease, replica.id)).toBe(false)
  expect(await setReplicaRung(db, lease, replica.id, 'parked')).toBe(false)
  expect(await readReplica(db, replica.id)).toMatchObject({ state: 'failed', ...why })
})

test('a restart in place is counted and keeps its reason until it is ready again', async () => {
  const { db } = database
  await markReplicaReady(db, lease, replica.id)
  await markReplicaRestarting(db, lease, replica.id, { ...why, inARow: 2 })
  expect(await readReplica(db, replica.id)).toMatchObject({ state: 'starting', restarts: 1, ...why })
  await markReplicaReady(db, lease, replica.id)
  expect(await readReplica(db, replica.id)).toMatchObject({ state: 'ready', reason: null, message: null })
})

test('the last ten times that its app ended are kept, the newest last', async () => {
  const { db } = database
  for (let end = 0; end < 12; end += 1) {
    await markReplicaReady(db, lease, replica.id)
    await markReplicaRestarting(db, lease, replica.id, { ...why, inARow: 2 })
  }
  const ends = (await readReplica(db, replica.id))?.ends.map((at) => Date.parse(at)) ?? []
  expect(ends).toHaveLength(10)
  expect(ends).toEqual(ends.toSorted((a, b) => a - b))
  expect(Date.now() - (ends.at(-1) ?? 0)).toBeLessThan(60_000)
})

test('an end after ten minutes of health is the first of a row', async () => {
  const { db } = database
  for (const inARow of [1, 2, 1]) {
    await markReplicaReady(db, lease, replica.id)
    await markReplicaRestarting(db, lease, replica.id, { ...why, inARow })
  }
  expect(await readReplica(db, replica.id)).toMatchObject({ restarts: 3 })
  expect((await readReplica(db, replica.id))?.ends).toHaveLength(1)
})

test('containers are remembered by name and forgotten one by one', async () => {
  const { db } = database
  await recordContainers(db, lease, replica.id, { sandbox: 's1' })
  await recordContainers(db, lease, replica.id, { app: 'a1' })
  await recordContainers(db, lease, replica.id, { app: 'a2' })
  expect((await readReplica(db, replica.id))?.containers).toEqual({ sandbox: 's1', app: 'a2' })
  await forgetContainer(db, lease, replica.id, 'app')
  expect((await replicasOnNode(db, replica.nodeUid))[0]?.containers).toEqual({ sandbox: 's1' })
  expect(await recordContainers(db, lease, 'rep-none', { app: 'a' })).toBe(false)
})

test('a stale leader changes nothing', async () => {
  const { db } = database
  const stale = { ...lease, epoch: 0 }
  await expect(markReplicaReady(db, stale, replica.id)).rejects.toBeInstanceOf(LeaseLostError)
  await expect(removeReplica(db, stale, replica.id)).rejects.toBeInstanceOf(LeaseLostError)
  await expect(recordContainers(db, stale, replica.id, { app: 'x' })).rejects.toBeInstanceOf(LeaseLostError)
  expect(await replicasOfService(db, replica.serviceUid)).toMatchObject([
    { state: 'starting', containers: {} },
  ])
})

test('every change is told to listeners of the service', async () => {
  const { db, url } = database
  const heard: string[] = []
  const listening = Promise.withResolvers<void>()
  const all = Promise.withResolvers<void>()
  const listener = listenForServiceChanges(url, {
    onListening: listening.resolve,
    onChange(uid) {
      if (uid === replica.serviceUid) heard.push(uid)
      if (heard.length === 3) all.resolve()
    },
  })
  await listening.promise
  await markReplicaReady(db, lease, replica.id)
  await recordContainers(db, lease, replica.id, { sandbox: 's' })
  await removeReplica(db, lease, replica.id)
  await all.promise
  await listener.close()
})
