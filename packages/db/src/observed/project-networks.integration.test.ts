import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { acquireLease, type LeaseRef } from '../leases.ts'
import { insertNode, insertProject } from '../testing/builders.ts'
import { createTestDatabase, type TestDatabase } from '../testing/test-database.ts'
import {
  ensureProjectNetwork,
  forgetProjectNetwork,
  networksOnNode,
  SubnetsExhaustedError,
} from './project-networks.ts'

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
  for (const { uid } of nodes) expect(await networksOnNode(database.db, uid)).toHaveLength(1)
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
  await forgetProjectNetwork(database.db, lease, one.uid, projectUid)
  expect((await ensure(other.uid, projectUid, { cidr })).subnet).toBe(cidr)
})
