import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { eq } from 'drizzle-orm'
import { acquireLease, releaseLease, type LeaseRef } from '../leases.ts'
import {
  hostPorts,
  idempotencyKeys,
  leaderAddress,
  nodes,
  nodeStatus,
  revisions,
  routers,
  serviceRoutes,
  services,
} from '../schema.ts'
import { createTestDatabase, type TestDatabase } from '../testing/test-database.ts'
import {
  insertNode,
  insertProject,
  insertReplica,
  insertRevision,
  insertService,
} from '../testing/builders.ts'
import { collectRows, readBelongings, readOwnersElsewhere } from './garbage.ts'
import {
  deleteDepartingNode,
  readDepartingNodes,
  readNodeOnSameMachine,
  writeNodeFacts,
  writeReachability,
} from './nodes.ts'
import { readReplica } from './replicas.ts'
import { readRouters, writeLeaderAddress, writeRouters } from './routers.ts'
import { writeServiceRoutes } from './service-routes.ts'
import { readNodeImages, recordNodeImage } from './node-images.ts'
import { writeRevisionFailure } from './world.ts'

let database: TestDatabase
let lease: LeaseRef
const stale = (): LeaseRef => ({ ...lease, epoch: lease.epoch - 1 })

const facts = {
  cpuMillis: 2000,
  memoryBytes: 1024 ** 3,
  engineId: 'engine-1',
  machineId: 'machine-1',
  engineVersion: '20.10.24',
  apiVersion: '1.41',
  architecture: 'amd64',
  honestPorts: true,
}

beforeAll(async () => {
  database = await createTestDatabase(inject('postgresUrl'))
  const first = await acquireLease(database.db, 'leader', 'before', 60_000)
  if (first) await releaseLease(database.db, first)
  const taken = await acquireLease(database.db, 'leader', 'me', 600_000)
  if (!taken) throw new Error('the lease is not free')
  lease = taken
})
afterAll(() => database.drop())

describe('what the leader notes about nodes', () => {
  test('is refused of a leader that was replaced', async () => {
    const { db } = database
    const node = await insertNode(db)
    await writeReachability(db, stale(), node.uid, 'down', 'no answer')
    expect(
      (await db.select().from(nodeStatus).where(eq(nodeStatus.nodeUid, node.uid)))[0]?.reachability,
    ).toBe('ready')
    await writeReachability(db, lease, node.uid, 'down', 'no answer')
    expect((await db.select().from(nodeStatus).where(eq(nodeStatus.nodeUid, node.uid)))[0]).toMatchObject({
      reachability: 'down',
      message: 'no answer',
      epoch: lease.epoch,
    })
  })

  test('makes no row for a leader that was replaced', async () => {
    const { db } = database
    const node = await insertNode(db)
    const status = () => db.select().from(nodeStatus).where(eq(nodeStatus.nodeUid, node.uid))
    await db.delete(nodeStatus).where(eq(nodeStatus.nodeUid, node.uid))
    await writeReachability(db, stale(), node.uid, 'ready', null)
    expect(await status()).toEqual([])
    await writeReachability(db, lease, node.uid, 'ready', null)
    expect(await status()).toMatchObject([{ reachability: 'ready' }])
  })

  test('finds the same engine twice, and a neighbour on the machine without a share of its own', async () => {
    const { db } = database
    const capacity = { cpuMillis: 1000, memoryBytes: 1024 ** 3 }
    const first = await insertNode(db, { capacity, endpoint: 'unix:///one.sock' })
    const twin = await insertNode(db, { capacity, endpoint: 'unix:///one.sock' })
    const second = await insertNode(db, { capacity, endpoint: 'unix:///two.sock' })
    const greedy = await insertNode(db, { endpoint: 'unix:///three.sock' })
    await writeNodeFacts(db, lease, first.uid, facts)
    expect(await readNodeOnSameMachine(db, twin.uid, facts)).toEqual({ name: first.name, sameEngine: true })
    expect(await readNodeOnSameMachine(db, second.uid, facts)).toBeNull()
    expect(await readNodeOnSameMachine(db, greedy.uid, facts)).toEqual({
      name: first.name,
      sameEngine: false,
    })
    expect(await readNodeOnSameMachine(db, greedy.uid, { engineId: 'e', machineId: '' })).toBeNull()
  })

  test('deletes a node that was asked to go once it is empty', async () => {
    const { db } = database
    const staying = await insertNode(db)
    const empty = await insertNode(db, { deletedAt: new Date() })
    const full = await insertNode(db, { deletedAt: new Date() })
    const revision = await insertRevision(db)
    await insertReplica(db, { revisionUid: revision.uid, nodeUid: full.uid })
    expect(await readDepartingNodes(db)).toEqual([{ uid: empty.uid, name: empty.name }])
    await deleteDepartingNode(db, stale(), empty.uid)
    expect(await readDepartingNodes(db)).toHaveLength(1)
    for (const { uid } of [staying, empty, full]) await deleteDepartingNode(db, lease, uid)
    const left = (await db.select().from(nodes)).map((node) => node.uid)
    expect(left).not.toContain(empty.uid)
    expect(left).toEqual(expect.arrayContaining([full.uid, staying.uid]))
  })
})

describe('what the leader says about itself and the routers', () => {
  test('stays that of the newest leader', async () => {
    const { db } = database
    await writeLeaderAddress(db, lease, { hubSocket: '/new', controlSocket: '/c' })
    await writeLeaderAddress(db, stale(), { hubSocket: '/old', controlSocket: '/c' })
    expect((await db.select().from(leaderAddress))[0]?.hubSocket).toBe('/new')
  })

  test('hands every router on that the leader before knew, however long ago it was heard', async () => {
    const { db } = database
    const lastSeenAt = new Date(Date.now() - 120_000)
    await db.delete(routers)
    await db.insert(routers).values({ id: 'old', incarnation: '1', adminPort: 1, lastSeenAt })
    expect((await readRouters(db)).map((router) => router.id)).toEqual(['old'])
  })

  test('drops a router that the leader knows no more', async () => {
    const { db } = database
    const members = ['here', 'gone'].map((id) => ({ id, incarnation: '1', adminPort: 2 }))
    await writeRouters(db, lease, members)
    await writeRouters(db, lease, members.slice(0, 1))
    expect((await readRouters(db)).map((router) => router.id)).toEqual(['here'])
    await writeRouters(db, lease, [])
    expect(await readRouters(db)).toEqual([])
  })

  test('refuses the routers of a leader that was replaced', async () => {
    const written = writeRouters(database.db, stale(), [{ id: 'late', incarnation: '1', adminPort: 2 }])
    await expect(written).rejects.toThrow(/lost/)
    expect((await readRouters(database.db)).map((router) => router.id)).not.toContain('late')
  })
})

describe('why a revision has no replica', () => {
  test('is noted until it has one, and refused of a leader that was replaced', async () => {
    const { db } = database
    const revision = await insertRevision(db)
    const failure = { reason: 'AppCrashed', message: 'exit code 1' }
    const read = async () =>
      (await db.select().from(revisions).where(eq(revisions.uid, revision.uid)))[0]?.failure
    await writeRevisionFailure(db, lease, revision.uid, failure)
    expect(await read()).toEqual(failure)
    await expect(writeRevisionFailure(db, stale(), revision.uid, null)).rejects.toThrow(/lost/)
    expect(await read()).toEqual(failure)
    await writeRevisionFailure(db, lease, revision.uid, null)
    expect(await read()).toBeNull()
  })
})

describe('which images a node holds', () => {
  test('is not noted by a leader that was replaced', async () => {
    const { db } = database
    const node = await insertNode(db)
    await recordNodeImage(db, lease, node.uid, 'sha256:new')
    await expect(recordNodeImage(db, stale(), node.uid, 'sha256:old')).rejects.toThrow(/lost/)
    const held = (await readNodeImages(db)).filter(({ nodeUid }) => nodeUid === node.uid)
    expect(held.map(({ digest }) => digest)).toEqual(['sha256:new'])
  })
})

describe('the routes that every router has acknowledged', () => {
  test('are noted for a service and replaced', async () => {
    const { db } = database
    const service = await insertService(db)
    await writeServiceRoutes(db, lease, service.uid, [{ revision: 'rev-1', percent: 100 }])
    await writeServiceRoutes(db, lease, service.uid, [{ revision: 'rev-2', percent: 100 }])
    expect((await db.select().from(serviceRoutes))[0]?.targets).toEqual([{ revision: 'rev-2', percent: 100 }])
  })

  test('are refused of a leader that was replaced, and ignored for a service that is gone', async () => {
    const { db } = database
    const service = await insertService(db)
    await expect(writeServiceRoutes(db, stale(), service.uid, [])).rejects.toThrow(/lost/)
    await writeServiceRoutes(db, lease, 'svc-none' as typeof service.uid, [])
    expect((await db.select().from(serviceRoutes)).map((row) => row.serviceUid)).not.toContain('svc-none')
  })
})

describe('collecting rows', () => {
  test('takes ports whose quarantine has ended and keys older than a day, and leaves the rest', async () => {
    const { db } = database
    const node = await insertNode(db)
    const past = new Date(Date.now() - 1000)
    const future = new Date(Date.now() + 600_000)
    await db.insert(hostPorts).values([
      { nodeUid: node.uid, port: 20_001, quarantinedUntil: past },
      { nodeUid: node.uid, port: 20_002, quarantinedUntil: future },
      { nodeUid: node.uid, port: 20_003, replicaId: 'rep-x', quarantinedUntil: past },
    ])
    const projectUid = await insertProject(db)
    const key = { projectUid, route: 'POST /services', bodyHash: '', status: 202, headers: {}, body: '' }
    await db.insert(idempotencyKeys).values([
      { ...key, key: 'old', createdAt: new Date(Date.now() - 25 * 3_600_000) },
      { ...key, key: 'new' },
    ])
    await collectRows(db, stale())
    expect(await db.select().from(idempotencyKeys)).toHaveLength(2)
    await collectRows(db, lease)
    const ports = await db.select().from(hostPorts).where(eq(hostPorts.nodeUid, node.uid))
    expect(ports.map((row) => row.port).toSorted((a, b) => a - b)).toEqual([20_002, 20_003])
    expect((await db.select().from(idempotencyKeys)).map((row) => row.key)).toEqual(['new'])
  })

  test('knows the replicas that belong to somebody', async () => {
    const { db } = database
    const node = await insertNode(db)
    const revision = await insertRevision(db)
    const replica = await insertReplica(db, { revisionUid: revision.uid, nodeUid: node.uid })
    const { owners } = await readBelongings(db, node.uid)
    expect(owners.has(replica.id)).toBe(true)
    const elsewhere = await insertNode(db)
    expect((await readOwnersElsewhere(db, elsewhere.uid)).has(replica.id)).toBe(true)
    expect((await readOwnersElsewhere(db, node.uid)).has(replica.id)).toBe(false)
  })

  test('retires replicas whose service is gone, and those alone', async () => {
    const { db } = database
    const { uid: nodeUid } = await insertNode(db)
    const [orphaned, kept] = [await insertRevision(db), await insertRevision(db)]
    const orphan = await insertReplica(db, { revisionUid: orphaned.uid, nodeUid })
    const other = await insertReplica(db, { revisionUid: kept.uid, nodeUid })
    await db.delete(services).where(eq(services.uid, orphaned.serviceUid))
    await collectRows(db, stale())
    expect((await readReplica(db, orphan.id))?.state).toBe('starting')
    await collectRows(db, lease)
    expect((await readReplica(db, orphan.id))?.state).toBe('draining')
    expect((await readReplica(db, other.id))?.state).toBe('starting')
  })
})
