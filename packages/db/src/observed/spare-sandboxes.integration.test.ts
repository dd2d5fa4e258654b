import { eq } from 'drizzle-orm'
import { afterAll, beforeAll, beforeEach, expect, inject, test } from 'vitest'
import { acquireLease, type LeaseRef } from '../leases.ts'
import { hostPorts, spareSandboxes } from '../schema.ts'
import { insertNode, insertReplica, insertRevision } from '../testing/builders.ts'
import { createTestDatabase, type TestDatabase } from '../testing/test-database.ts'
import { readReplica, removeReplica } from './replicas.ts'
import {
  freeSpares,
  giveUpSpare,
  markSpareReady,
  reserveSpare,
  spareOfReplica,
  takeSpare,
  type SpareKey,
  type SpareRow,
} from './spare-sandboxes.ts'

let database: TestDatabase
let lease: LeaseRef
let revisionUid: string
let key: SpareKey
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
  revisionUid = revision.uid
  const replica = await insertReplica(db, { revisionUid, nodeUid: node.uid })
  key = { nodeUid: node.uid, projectUid: replica.projectUid, containerPort: 8080 }
  await removeReplica(db, lease, replica.id)
  await db.delete(hostPorts).where(eq(hostPorts.nodeUid, node.uid))
})

async function spare(ready: boolean): Promise<SpareRow> {
  const row = await reserveSpare(database.db, lease, key)
  if (row === null) throw new Error('no spare')
  if (ready) await markSpareReady(database.db, lease, row.id, `container-${row.id}`)
  return row
}

const newReplica = () => insertReplica(database.db, { revisionUid, nodeUid: key.nodeUid })

test('a taken spare gives its port to the replica, whose own port is free at once', async () => {
  const { db } = database
  const [row, replica] = [await spare(true), await newReplica()]
  expect(await takeSpare(db, lease, key, replica.id)).toMatchObject({
    id: row.id,
    containerId: `container-${row.id}`,
  })
  expect((await readReplica(db, replica.id))?.hostPort).toBe(row.hostPort)
  const ports = await db.select().from(hostPorts).where(eq(hostPorts.nodeUid, key.nodeUid))
  expect(ports).toMatchObject([{ port: row.hostPort, replicaId: replica.id, spareId: row.id }])
  expect(await spareOfReplica(db, replica.id)).toMatchObject({ id: row.id })
  expect(await freeSpares(db, key.nodeUid)).toEqual([])
})

test('a spare that is still being made is taken only by those who wait for it', async () => {
  const { db } = database
  const [row, replica] = [await spare(false), await newReplica()]
  expect(await takeSpare(db, lease, key, replica.id)).toBeNull()
  expect(await takeSpare(db, lease, key, replica.id, { joinUnready: true })).toMatchObject({ id: row.id })
})

test('a ready spare is taken before one that is being made', async () => {
  const { db } = database
  await spare(false)
  const ready = await spare(true)
  const taken = await takeSpare(db, lease, key, (await newReplica()).id, { joinUnready: true })
  expect(taken?.id).toBe(ready.id)
})

test('a spare fits only its project, node and container port', async () => {
  const { db } = database
  await spare(true)
  const replica = await newReplica()
  expect(await takeSpare(db, lease, { ...key, containerPort: 3000 }, replica.id)).toBeNull()
  expect(await takeSpare(db, lease, { ...key, projectUid: 'prj-other' }, replica.id)).toBeNull()
  const elsewhere = await insertNode(db)
  expect(await takeSpare(db, lease, { ...key, nodeUid: elsewhere.uid }, replica.id)).toBeNull()
  expect(await freeSpares(db, key.nodeUid)).toHaveLength(1)
})

test('many replicas at once never share a spare', async () => {
  const { db } = database
  for (let count = 0; count < 3; count += 1) await spare(true)
  const replicas = []
  for (let count = 0; count < 6; count += 1) replicas.push(await newReplica())
  const taken = await Promise.all(replicas.map(({ id }) => takeSpare(db, lease, key, id)))
  const ids = taken.flatMap((row) => (row === null ? [] : [row.id]))
  expect(ids).toHaveLength(3)
  expect(new Set(ids).size).toBe(3)
})

test('a bound spare keeps its row until its replica is removed, then its port rests', async () => {
  const { db } = database
  const [row, replica] = [await spare(true), await newReplica()]
  await takeSpare(db, lease, key, replica.id)
  const rows = () => db.select().from(spareSandboxes).where(eq(spareSandboxes.id, row.id))
  expect(await rows()).toHaveLength(1)
  await removeReplica(db, lease, replica.id)
  expect(await rows()).toEqual([])
  const ports = await db.select().from(hostPorts).where(eq(hostPorts.nodeUid, key.nodeUid))
  expect(ports).toMatchObject([{ port: row.hostPort, replicaId: null, spareId: null }])
  expect(ports[0]?.quarantinedUntil).not.toBeNull()
})

test('a spare that nobody took can be given up once, and its port rests', async () => {
  const { db } = database
  const row = await spare(true)
  expect(await giveUpSpare(db, lease, row.id)).toBe(true)
  expect(await giveUpSpare(db, lease, row.id)).toBe(false)
  expect(await freeSpares(db, key.nodeUid)).toEqual([])
  const ports = await db.select().from(hostPorts).where(eq(hostPorts.nodeUid, key.nodeUid))
  expect(ports).toMatchObject([
    { replicaId: null, spareId: null, quarantinedUntil: expect.any(Date) as Date },
  ])
})

test('a spare is either taken or given up, never both', async () => {
  const { db } = database
  for (let round = 0; round < 10; round += 1) {
    const [row, replica] = [await spare(true), await newReplica()]
    const [taken, givenUp] = await Promise.all([
      takeSpare(db, lease, key, replica.id),
      giveUpSpare(db, lease, row.id),
    ])
    expect((taken !== null) !== givenUp).toBe(true)
  }
})
