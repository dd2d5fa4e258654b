import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { insertNode, insertReplica, insertRevision, insertService } from '../testing/builders.ts'
import { createTestDatabase, type TestDatabase } from '../testing/test-database.ts'
import { findService } from './services.ts'

let database: TestDatabase
beforeAll(async () => {
  database = await createTestDatabase(inject('postgresUrl'))
})
afterAll(() => database.drop())

async function countsOf(service: { projectUid: string; name: string }) {
  return (await findService(database.db, service.projectUid, service.name))?.replicas
}

test('minScale is desired also where no place was found for it', async () => {
  const service = await insertService(database.db, { minScale: 2 })
  expect(await countsOf(service)).toEqual({ desired: 2, running: 0, frozen: 0, parked: 0 })
})

test('what runs beyond minScale is desired too, what is frozen or parked is not', async () => {
  const { db } = database
  const service = await insertService(db, { minScale: 1 })
  const { uid: revisionUid } = await insertRevision(db, { serviceUid: service.uid })
  const { uid: nodeUid } = await insertNode(db)
  const place = { serviceUid: service.uid, revisionUid, nodeUid }
  for (const rung of ['running', 'running', 'frozen', 'parked'] as const)
    await insertReplica(db, { ...place, state: 'ready', rung })
  await insertReplica(db, { ...place, state: 'failed' })
  expect(await countsOf(service)).toEqual({ desired: 2, running: 2, frozen: 1, parked: 1 })
})

test('nothing is desired of a service that is being deleted', async () => {
  const service = await insertService(database.db, { minScale: 2, deletedAt: new Date() })
  expect(await countsOf(service)).toMatchObject({ desired: 0 })
})
