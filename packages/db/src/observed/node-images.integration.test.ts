import { newId } from '@berth/contracts'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { acquireLease, type LeaseRef } from '../leases.ts'
import { insertNode, insertReplica, insertRevision, insertService } from '../testing/builders.ts'
import { createTestDatabase, type TestDatabase } from '../testing/test-database.ts'
import { forgetNodeImages, readNodeImageUse, recordNodeImage, type NodeImageUse } from './node-images.ts'

let database: TestDatabase
let lease: LeaseRef
beforeAll(async () => {
  database = await createTestDatabase(inject('postgresUrl'))
  const taken = await acquireLease(database.db, 'leader', 'me', 600_000)
  if (!taken) throw new Error('the lease is not free')
  lease = taken
})
afterAll(() => database.drop())

const digest = () => `sha256:${newId('WorkerId')}`

/** A revision of a service of its own whose image a node holds, after `become` has been said of it. */
async function useOf(become: (ids: { service: string; revision: string; name: string }) => Promise<unknown>) {
  const { db } = database
  const node = await insertNode(db)
  const service = await insertService(db)
  const imageDigest = digest()
  const revision = await insertRevision(db, { serviceUid: service.uid, imageDigest })
  await recordNodeImage(db, lease, node.uid, imageDigest)
  await become({ service: service.uid, revision: revision.uid, name: revision.name })
  return (await readNodeImageUse(db, node.uid))[0]
}

describe('an image is needed', () => {
  test.each<
    [
      string,
      NodeImageUse['inUse'],
      (ids: { service: string; revision: string; name: string }) => Promise<unknown>,
    ]
  >([
    ['by nothing but the history of its service', false, async () => {}],
    [
      'by a replica',
      true,
      async ({ revision }) =>
        insertReplica(database.db, { revisionUid: revision, nodeUid: (await insertNode(database.db)).uid }),
    ],
    [
      'by a replica that has failed: no more',
      false,
      async ({ revision }) => {
        const { uid } = await insertNode(database.db)
        return insertReplica(database.db, { revisionUid: revision, nodeUid: uid, state: 'failed' })
      },
    ],
    [
      'as the newest ready one of a service, cold or not',
      true,
      ({ service, name }) =>
        database.db.execute(
          `update service_status set latest_ready_revision = '${name}' where service_uid = '${service}'`,
        ),
    ],
    [
      'by traffic that is pinned to it',
      true,
      ({ service, name }) =>
        database.db.execute(
          `update services set traffic = '[{"revision": "${name}", "percent": 0, "tag": "old"}]' where uid = '${service}'`,
        ),
    ],
    [
      'by traffic that is routed to it',
      true,
      ({ service, name }) =>
        database.db.execute(
          `update service_status set traffic = '[{"revision": "${name}", "percent": 100, "tag": null}]'
           where service_uid = '${service}'`,
        ),
    ],
    [
      'by a rollback',
      true,
      ({ service, name }) =>
        database.db.execute(`update services set pinned_revision = '${name}' where uid = '${service}'`),
    ],
    [
      'by a deployment that is under way',
      true,
      ({ service, revision }) =>
        database.db.execute(
          `insert into deployments (id, project_uid, service_uid, service_name, generation, trigger, created_by, revision_uid)
           select '${newId('DeploymentId')}', project_uid, uid, name, 1, 'create', 'test', '${revision}'
           from services where uid = '${service}'`,
        ),
    ],
  ])('%s (%s)', async (_what, inUse, become) => {
    const use = await useOf(become)
    expect(use).toMatchObject({ inUse, retained: true })
    expect(use?.unusedMs).toBeLessThan(60_000)
  })

  test('by nobody when its service is gone, and is forgotten once it was removed', async () => {
    const { db } = database
    const node = await insertNode(db)
    const gone = digest()
    await recordNodeImage(db, lease, node.uid, gone)
    await db.execute(
      `update node_images set observed_at = now() - interval '1 hour' where digest = '${gone}'`,
    )
    const [use] = await readNodeImageUse(db, node.uid)
    expect(use).toMatchObject({ digest: gone, inUse: false, retained: false })
    expect(use?.unusedMs).toBeGreaterThan(3_000_000)
    await forgetNodeImages(db, { ...lease, epoch: lease.epoch - 1 }, node.uid, [gone])
    expect(await readNodeImageUse(db, node.uid)).toHaveLength(1)
    await forgetNodeImages(db, lease, node.uid, [gone])
    expect(await readNodeImageUse(db, node.uid)).toEqual([])
  })
})
