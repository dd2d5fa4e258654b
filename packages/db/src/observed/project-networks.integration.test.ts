import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { acquireLease, type LeaseRef } from '../leases.ts'
import { insertNode, insertProject, insertReplica, insertRevision } from '../testing/builders.ts'
import { createTestDatabase, type TestDatabase } from '../testing/test-database.ts'
import {
  ensureProjectNetwork,
  forgetUnusedNetwork,
  SubnetsExhaustedError,
  unusedNetworks,
} from './project-networks.ts'
import { removeReplica } from './replicas.ts'
import { giveUpSpare, reserveSpare } from './spare-sandboxes.ts'

let database: TestDatabase
let lease: LeaseRef
beforeAll(async () => {
  database = await createTestDatabase(inject('postgresUrl'))
  const taken = await acquireLease(database.db, 'leader', 'test', 600_000)
  if (taken === null) throw new Error('the lease is held')
  lease = taken
})
afterAll(() => database.drop())

const ensure = (nodeUid: string, projectUid: string, more: { cidr?: string; avoid?: string[] } = {}) =>
  ensureProjectNetwork(database.db, lease, {
    nodeUid,
    projectUid,
    name: `net-${projectUid}`,
    cidr: '10.9.0.0/16',
    ...more,
  })

test('each project gets one subnet per node, and no two are the same', async () => {
  const projectUid = await insertProject(database.db)
  const nodes = []
  for (let count = 0; count < 5; count += 1) nodes.push(await insertNode(database.db))
  const made = await Promise.all([...nodes, ...nodes].map(({ uid }) => ensure(uid, projectUid)))
  expect(new Set(made.map(({ subnet }) => subnet)).size).toBe(5)
  expect(await unusedNetworks(database.db)).toHaveLength(5)
})

test('a subnet that the machine uses already is replaced', async () => {
  const projectUid = await insertProject(database.db)
  const { uid } = await insertNode(database.db)
  const first = await ensure(uid, projectUid)
  const second = await ensure(uid, projectUid, { avoid: [first.subnet] })
  expect(second.subnet).not.toBe(first.subnet)
  expect(await ensure(uid, projectUid)).toEqual(second)
})

test('an exhausted block says which setting to change, a forgotten network makes room', async () => {
  const projectUid = await insertProject(database.db)
  const cidr = '10.77.0.0/26'
  const [one, other] = [await insertNode(database.db), await insertNode(database.db)]
  expect((await ensure(one.uid, projectUid, { cidr })).subnet).toBe(cidr)
  await expect(ensure(other.uid, projectUid, { cidr })).rejects.toBeInstanceOf(SubnetsExhaustedError)
  expect(await forgetUnusedNetwork(database.db, lease, one.uid, projectUid)).toBe(`net-${projectUid}`)
  expect((await ensure(other.uid, projectUid, { cidr })).subnet).toBe(cidr)
})

test('a network is in use while its project has a replica or a spare on the node', async () => {
  const { db } = database
  const { uid: nodeUid } = await insertNode(db)
  const { uid: elsewhere } = await insertNode(db)
  const revision = await insertRevision(db)
  const replica = await insertReplica(db, { revisionUid: revision.uid, nodeUid, state: 'failed' })
  const { projectUid } = replica
  for (const uid of [nodeUid, elsewhere]) await ensure(uid, projectUid)
  const isUnused = async (uid: string) => (await unusedNetworks(db)).some((row) => row.nodeUid === uid)
  const forget = () => forgetUnusedNetwork(db, lease, nodeUid, projectUid)
  expect(await isUnused(elsewhere)).toBe(true)
  expect([await isUnused(nodeUid), await forget()]).toEqual([false, null])

  const spare = await reserveSpare(db, lease, { nodeUid, projectUid, containerPort: 8080 })
  await removeReplica(db, lease, replica.id)
  expect([await isUnused(nodeUid), await forget()]).toEqual([false, null])

  await giveUpSpare(db, lease, spare?.id ?? '')
  expect([await isUnused(nodeUid), await forget()]).toEqual([true, `net-${projectUid}`])
  expect(await isUnused(nodeUid)).toBe(false)
})
