import { newId } from '@berth/contracts'
import { eq } from 'drizzle-orm'
import fc from 'fast-check'
import { afterAll, beforeAll, beforeEach, expect, inject, test } from 'vitest'
import { acquireLease, LeaseLostError, type LeaseRef } from '../leases.ts'
import { hostPorts, nodes, replicas, services } from '../schema.ts'
import { insertNode, insertRevision } from '../testing/builders.ts'
import { createTestDatabase, type TestDatabase } from '../testing/test-database.ts'
import { collectQuarantinedPorts, hostPortRange } from './host-ports.ts'
import { markReplicaDraining, markReplicaFailed, removeReplica, setReplicaRung } from './replicas.ts'
import { reservedOn, reserveReplica, reserveWake, type ReplicaReservation } from './reservation.ts'

const mebibyte = 1024 ** 2
let database: TestDatabase
let lease: LeaseRef
beforeAll(async () => {
  database = await createTestDatabase(inject('postgresUrl'))
  const taken = await acquireLease(database.db, 'leader', 'test', 600_000)
  if (taken === null) throw new Error('the lease is held')
  lease = taken
})
afterAll(() => database.drop())

type Made = Omit<ReplicaReservation, 'deploymentId'>
let wanted: Made

/** A node with 512 MiB to give and half a core, overcommitted ten times. */
beforeEach(async () => {
  const revision = await insertRevision(database.db)
  const node = await insertNode(database.db, {
    capacity: { cpuMillis: 500, memoryBytes: 1024 * mebibyte },
    systemReservedBytes: 512 * mebibyte,
    address: `127.0.${Math.floor(Math.random() * 250)}.${Math.floor(Math.random() * 250)}`,
  })
  wanted = {
    serviceUid: revision.serviceUid,
    revisionUid: revision.uid,
    nodeUid: node.uid,
    cpuMillis: 1000,
    memoryBytes: 128 * mebibyte,
    maxReplicas: 100,
  }
})

const reserve = (change: Partial<Made> = {}) =>
  reserveReplica(database.db, lease, { deploymentId: null, ...wanted, ...change })

async function reserved(change: Partial<Made> = {}) {
  const result = await reserve(change)
  if (result.kind !== 'reserved') throw new Error(result.message)
  return result.replica
}

test('a reservation is a starting row with a port of the range', async () => {
  const replica = await reserved()
  expect(replica).toMatchObject({ state: 'starting', rung: 'running', nodeUid: wanted.nodeUid, epoch: 1 })
  expect(replica.hostPort).toBeGreaterThanOrEqual(hostPortRange.first)
  expect(replica.hostPort).toBeLessThanOrEqual(hostPortRange.last)
  const ports = await database.db.select().from(hostPorts).where(eq(hostPorts.replicaId, replica.id))
  expect(ports).toMatchObject([{ port: replica.hostPort, nodeUid: wanted.nodeUid }])
})

test('the same id reserves once', async () => {
  const id = newId('ReplicaId')
  const first = await reserved({ id })
  expect(await reserved({ id })).toEqual(first)
  expect(await reservedOn(database.db, wanted.nodeUid)).toEqual({
    memoryBytes: 128 * mebibyte,
    cpuMillis: 1000,
  })
})

test('memory is promised once, with numbers in the refusal', async () => {
  for (let count = 0; count < 4; count += 1) await reserved()
  expect(await reserve()).toMatchObject({
    kind: 'refused',
    because: 'memory',
    message: expect.stringContaining('memory 128Mi asked, 0Mi free') as string,
  })
})

test('cores are promised as often as the pool says', async () => {
  for (let count = 0; count < 5; count += 1) await reserved({ memoryBytes: mebibyte })
  expect(await reserve({ memoryBytes: mebibyte })).toMatchObject({ because: 'cpu' })
})

test('the upper bound counts what starts, runs and is frozen, and nothing that is leaving or parked', async () => {
  const bound = { maxReplicas: 2, memoryBytes: mebibyte, cpuMillis: 50 }
  const first = await reserved(bound)
  const second = await reserved(bound)
  await setReplicaRung(database.db, lease, second.id, 'frozen')
  expect(await reserve(bound)).toMatchObject({ because: 'max-scale' })
  await markReplicaDraining(database.db, lease, first.id)
  await setReplicaRung(database.db, lease, second.id, 'parked')
  await reserved(bound)
  await reserved(bound)
  expect(await reserve(bound)).toMatchObject({ because: 'max-scale' })
})

test('a cordoned node, a removed node and a deleted service get nothing', async () => {
  await database.db.update(nodes).set({ scheduling: 'cordoned' }).where(eq(nodes.uid, wanted.nodeUid))
  expect(await reserve()).toMatchObject({ because: 'not-schedulable' })
  await database.db.update(nodes).set({ deletedAt: new Date() }).where(eq(nodes.uid, wanted.nodeUid))
  expect(await reserve()).toMatchObject({ because: 'node-gone' })
  await database.db.update(services).set({ deletedAt: new Date() }).where(eq(services.uid, wanted.serviceUid))
  expect(await reserve()).toMatchObject({ because: 'service-gone' })
})

test('a parked replica gives its memory back, and wakes only where it fits again', async () => {
  const sleeper = await reserved({ memoryBytes: 384 * mebibyte })
  await setReplicaRung(database.db, lease, sleeper.id, 'parked')
  expect((await reservedOn(database.db, wanted.nodeUid)).memoryBytes).toBe(0)
  const other = await reserved({ memoryBytes: 256 * mebibyte })
  expect(await reserveWake(database.db, lease, sleeper.id, 10)).toMatchObject({ because: 'memory' })
  await markReplicaFailed(database.db, lease, other.id, { reason: 'AppCrashed', message: 'gone' })
  expect(await reserveWake(database.db, lease, sleeper.id, 10)).toMatchObject({
    kind: 'reserved',
    replica: { rung: 'running' },
  })
  expect((await reservedOn(database.db, wanted.nodeUid)).memoryBytes).toBe(384 * mebibyte)
})

test('a port rests after use before anybody gets it again', async () => {
  const replica = await reserved()
  await removeReplica(database.db, lease, replica.id)
  const [resting] = await database.db.select().from(hostPorts).where(eq(hostPorts.nodeUid, wanted.nodeUid))
  expect(resting).toMatchObject({ port: replica.hostPort, replicaId: null })
  expect(resting?.quarantinedUntil?.getTime()).toBeGreaterThan(Date.now() + 5 * 60_000)
  expect(await collectQuarantinedPorts(database.db, wanted.nodeUid)).toBe(0)
  await database.db
    .update(hostPorts)
    .set({ quarantinedUntil: new Date(Date.now() - 60_000) })
    .where(eq(hostPorts.nodeUid, wanted.nodeUid))
  expect(await collectQuarantinedPorts(database.db, wanted.nodeUid)).toBe(1)
})

test('whoever lost the lease reserves nothing', async () => {
  const stale = { ...lease, epoch: lease.epoch - 1 }
  const attempt = reserveReplica(database.db, stale, { deploymentId: null, ...wanted })
  await expect(attempt).rejects.toBeInstanceOf(LeaseLostError)
  expect(await reservedOn(database.db, wanted.nodeUid)).toEqual({ memoryBytes: 0, cpuMillis: 0 })
})

test('reservations at the same time never overbook a node, exceed the bound or share a port', async () => {
  const ask = fc.record({
    memoryMiB: fc.integer({ min: 1, max: 300 }),
    cpuMillis: fc.integer({ min: 50, max: 2000 }),
    node: fc.integer({ min: 0, max: 1 }),
    service: fc.integer({ min: 0, max: 1 }),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(ask, { minLength: 2, maxLength: 14 }), async (asks) => {
      const { db } = database
      const address = `127.1.${Math.floor(Math.random() * 250)}.${Math.floor(Math.random() * 250)}`
      const capacity = { cpuMillis: 300, memoryBytes: 600 * mebibyte }
      const about = { capacity, systemReservedBytes: 100 * mebibyte, address }
      const places = [await insertNode(db, about), await insertNode(db, about)]
      const revisions = [await insertRevision(db), await insertRevision(db)]
      const maxReplicas = 4
      await Promise.all(
        asks.map(({ node, service, memoryMiB, cpuMillis }) =>
          reserveReplica(db, lease, {
            deploymentId: null,
            serviceUid: revisions[service]?.serviceUid ?? '',
            revisionUid: revisions[service]?.uid ?? '',
            nodeUid: places[node]?.uid ?? '',
            memoryBytes: memoryMiB * mebibyte,
            cpuMillis,
            maxReplicas,
          }),
        ),
      )
      for (const { uid } of places) {
        const held = await reservedOn(db, uid)
        expect(held.memoryBytes).toBeLessThanOrEqual(500 * mebibyte)
        expect(held.cpuMillis).toBeLessThanOrEqual(3000)
        const rows = await db.select().from(replicas).where(eq(replicas.nodeUid, uid))
        expect(new Set(rows.map(({ hostPort }) => hostPort)).size).toBe(rows.length)
      }
      for (const { serviceUid } of revisions) {
        const rows = await db.select().from(replicas).where(eq(replicas.serviceUid, serviceUid))
        expect(rows.length).toBeLessThanOrEqual(maxReplicas)
      }
    }),
    { numRuns: 12 },
  )
})

test('the bound of a service holds over many nodes at once', async () => {
  const { db } = database
  const places = []
  for (let count = 0; count < 6; count += 1)
    places.push(await insertNode(db, { address: `127.2.${count}.1` }))
  for (let round = 0; round < 5; round += 1) {
    const revision = await insertRevision(db)
    const small = { memoryBytes: mebibyte, cpuMillis: 50, maxReplicas: 4 }
    const { uid: revisionUid, serviceUid } = revision
    const results = await Promise.all(
      [...places, ...places].map(({ uid }) => reserve({ ...small, nodeUid: uid, revisionUid, serviceUid })),
    )
    expect(results.filter(({ kind }) => kind === 'reserved')).toHaveLength(4)
  }
})
