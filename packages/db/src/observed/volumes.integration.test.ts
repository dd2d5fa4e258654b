import type { VolumeUid } from '@berth/contracts'
import { eq } from 'drizzle-orm'
import { afterAll, beforeAll, beforeEach, expect, inject, test } from 'vitest'
import * as desired from '../desired/index.ts'
import { acquireLease, type LeaseRef } from '../leases.ts'
import { services, volumes } from '../schema.ts'
import { buildTemplate, insertNode, insertRevision, insertService } from '../testing/builders.ts'
import { createTestDatabase, type TestDatabase } from '../testing/test-database.ts'
import { markReplicaFailed, removeReplica } from './replicas.ts'
import { reserveReplica } from './reservation.ts'
import { forgetVolume, readDeletedVolumes, readServiceVolumes } from './volumes.ts'

let database: TestDatabase
let lease: LeaseRef
beforeAll(async () => {
  database = await createTestDatabase(inject('postgresUrl'))
  const taken = await acquireLease(database.db, 'leader', 'test', 600_000)
  if (taken === null) throw new Error('the lease is held')
  lease = taken
})
afterAll(() => database.drop())
beforeEach(async () => {
  await database.db.delete(volumes)
})

const [app] = buildTemplate().containers
const withData = buildTemplate({
  containers: app ? [{ ...app, volumes: [{ name: 'data', mountPath: '/data' }] }] : [],
})

/** A service whose revision mounts the volume "data", and which has it. */
async function serviceWithData() {
  const service = await insertService(database.db, { template: withData, maxScale: 1 })
  const revision = await insertRevision(database.db, { serviceUid: service.uid, template: withData })
  const owner = { projectUid: service.projectUid, serviceUid: service.uid }
  await database.db.transaction((tx) => desired.claimVolumes(tx, owner, ['data']))
  return { ...owner, revisionUid: revision.uid }
}

const reserve = (on: { uid: string }, wanted: { serviceUid: string; revisionUid: string }) =>
  reserveReplica(database.db, lease, {
    ...wanted,
    nodeUid: on.uid,
    deploymentId: null,
    cpuMillis: 100,
    memoryBytes: 1024 ** 2,
    maxReplicas: 2,
  })

test('the first replica binds a volume to its node, and no other node gets one after it', async () => {
  const wanted = await serviceWithData()
  const [here, there] = [await insertNode(database.db), await insertNode(database.db)]
  expect(await reserve(here, wanted)).toMatchObject({ kind: 'reserved' })
  expect(await readServiceVolumes(database.db)).toMatchObject([{ name: 'data', nodeUid: here.uid }])
  expect(await reserve(there, wanted)).toMatchObject({
    kind: 'refused',
    because: 'volume',
    message: `volume "data" is on node "${here.name}"`,
  })
  expect(await reserve(here, wanted)).toMatchObject({ kind: 'reserved' })
})

test('two nodes that are asked at once get one replica between them', async () => {
  const wanted = await serviceWithData()
  const nodes = await Promise.all([1, 2, 3, 4].map(() => insertNode(database.db)))
  const results = await Promise.all(nodes.map((node) => reserve(node, wanted)))
  expect(results.filter(({ kind }) => kind === 'reserved')).toHaveLength(1)
})

test('a volume that was deleted is told, and no replica is reserved without it', async () => {
  const wanted = await serviceWithData()
  await database.db.update(volumes).set({ deletedAt: new Date() })
  expect(await reserve(await insertNode(database.db), wanted)).toMatchObject({
    kind: 'refused',
    message: 'volume "data" was deleted',
  })
})

test('a volume belongs to one service, outlives it, and then to the next that names it', async () => {
  const first = await serviceWithData()
  const other = await insertService(database.db, { template: withData })
  const claim = () =>
    database.db.transaction((tx) =>
      desired.claimVolumes(tx, { projectUid: other.projectUid, serviceUid: other.uid }, ['data']),
    )
  const [{ name: owner } = { name: '' }] = await database.db
    .select({ name: services.name })
    .from(services)
    .where(eq(services.uid, first.serviceUid))
  expect(await claim()).toEqual([{ name: 'data', because: { usedBy: owner } }])
  const before = await desired.findVolume(database.db, first.projectUid, 'data')
  await database.db.delete(services).where(eq(services.uid, first.serviceUid))
  expect(await claim()).toEqual([])
  const after = await desired.findVolume(database.db, first.projectUid, 'data')
  expect(after?.volume).toMatchObject({ uid: before?.volume.uid, serviceUid: other.uid })
})

test('a volume is needed as long as the template or a replica mounts it', async () => {
  const wanted = await serviceWithData()
  const needed = () =>
    database.db.transaction(async (tx) => {
      const volume = await desired.findVolumeForUpdate(tx, wanted.projectUid, 'data')
      return volume && (await desired.userOfVolume(tx, volume)) !== undefined
    })
  expect(await needed()).toBe(true)
  const reserved = await reserve(await insertNode(database.db), wanted)
  await database.db
    .update(services)
    .set({ template: buildTemplate() })
    .where(eq(services.uid, wanted.serviceUid))
  expect(await needed()).toBe(true)
  const id = reserved.kind === 'reserved' ? reserved.replica.id : ''
  await markReplicaFailed(database.db, lease, id, { reason: 'AppCrashed', message: '' })
  await removeReplica(database.db, lease, id)
  expect(await needed()).toBe(false)
})

test('one that was never placed is gone at once, any other when the leader has removed it', async () => {
  const wanted = await serviceWithData()
  const remove = () =>
    database.db.transaction(async (tx) => {
      const volume = await desired.findVolumeForUpdate(tx, wanted.projectUid, 'data')
      await desired.markVolumeDeleted(tx, volume?.uid ?? '')
    })
  await remove()
  expect(await desired.findVolume(database.db, wanted.projectUid, 'data')).toBeUndefined()
  const placed = await serviceWithData()
  const node = await insertNode(database.db)
  await reserve(node, placed)
  await database.db.transaction(async (tx) => {
    const volume = await desired.findVolumeForUpdate(tx, placed.projectUid, 'data')
    await desired.markVolumeDeleted(tx, volume?.uid ?? '')
  })
  const [deleted] = await readDeletedVolumes(database.db)
  expect(deleted?.nodeUid).toBe(node.uid)
  expect(await readServiceVolumes(database.db)).toEqual([])
  if (deleted) await forgetVolume(database.db, lease, deleted.uid)
  expect(await readDeletedVolumes(database.db)).toEqual([])
})

test('a restore that nobody puts off is given up, one that has ended is a volume like others', async () => {
  const { projectUid } = await serviceWithData()
  const node = await insertNode(database.db)
  const begin = (name: string) => desired.beginRestore(database.db, { projectUid, name, nodeUid: node.uid })
  expect(await begin('data')).toBeNull()
  const restored = await begin('restored')
  const uid = restored?.uid ?? ''
  const claim = async () => {
    const service = await insertService(database.db, { projectUid })
    const owner = { projectUid, serviceUid: service.uid }
    return database.db.transaction((tx) => desired.claimVolumes(tx, owner, ['restored']))
  }
  expect(await claim()).toEqual([{ name: 'restored', because: 'being-restored' }])
  expect(await readDeletedVolumes(database.db)).toEqual([])
  await database.db
    .update(volumes)
    .set({ restoringUntil: new Date(0) })
    .where(eq(volumes.uid, uid))
  expect(await readDeletedVolumes(database.db)).toEqual([{ uid, nodeUid: node.uid }])
  await desired.putRestoreOff(database.db, uid)
  expect(await desired.endRestore(database.db, uid)).toBe(false)
  await desired.giveRestoreUp(database.db, uid)
  await forgetVolume(database.db, lease, uid as VolumeUid)
  const again = await begin('restored')
  expect(await desired.endRestore(database.db, again?.uid ?? '')).toBe(true)
  expect(await claim()).toEqual([])
})
