import { newId, type DeploymentId, type RevisionUid } from '@berth/contracts'
import { afterAll, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest'
import { eq } from 'drizzle-orm'
import { withTransaction } from '../connection.ts'
import { acquireLease, LeaseLostError, type LeaseRef } from '../leases.ts'
import {
  deploymentEvents,
  deployments,
  hostPorts,
  nodes,
  replicas,
  revisions,
  services,
  serviceStatus,
  spareSandboxes,
} from '../schema.ts'
import { insertNode, insertReplica, insertRevision, insertService } from '../testing/builders.ts'
import { createTestDatabase, type TestDatabase } from '../testing/test-database.ts'
import { advanceDeployment, finishDeployment, reportTrouble } from './deployments.ts'
import { lockReplicasOf } from './reservation.ts'
import { adoptRevision, makeRevision, type NewRevision } from './revisions.ts'
import {
  deleteServiceRows,
  drainReplicas,
  listServicesBehind,
  shiftTraffic,
  writeReadyCondition,
} from './service-status.ts'
import { reserveSpare, takeSpare } from './spare-sandboxes.ts'

let database: TestDatabase
let lease: LeaseRef
let service: Awaited<ReturnType<typeof insertService>>
let deployment: DeploymentId

beforeAll(async () => {
  database = await createTestDatabase(inject('postgresUrl'))
})
afterAll(() => database.drop())

beforeEach(async () => {
  const { db } = database
  service = await insertService(db)
  deployment = newId('DeploymentId')
  await db.insert(deployments).values({
    id: deployment,
    projectUid: service.projectUid,
    serviceUid: service.uid,
    serviceName: service.name,
    generation: 1,
    trigger: 'create',
    createdBy: 'test',
  })
  const taken = await acquireLease(db, `service:${service.uid}`, 'a', 600_000)
  if (!taken) throw new Error('a new service has no lease')
  lease = taken
})

const newRevision = (change: Partial<NewRevision> = {}): NewRevision => ({
  uid: newId('RevisionUid'),
  serviceUid: service.uid,
  generation: 1,
  template: service.template,
  env: Buffer.from('sealed'),
  contentHash: 'hash',
  imageRepository: '127.0.0.1:5050/hello',
  imageDigest: `sha256:${'1'.repeat(64)}`,
  architectures: ['amd64'],
  suffix: null,
  ...change,
})
const ready = {
  type: 'Ready',
  status: 'True',
  reason: 'Serving',
  message: '',
  lastTransitionTime: '',
} as const

async function rows() {
  const { db } = database
  const [row] = await db.select().from(deployments).where(eq(deployments.id, deployment))
  const events = await db
    .select()
    .from(deploymentEvents)
    .where(eq(deploymentEvents.deploymentId, deployment))
    .orderBy(deploymentEvents.id)
  const [status] = await db.select().from(serviceStatus).where(eq(serviceStatus.serviceUid, service.uid))
  return { deployment: row, events, status }
}

const writes: Record<string, (lost: LeaseRef) => Promise<unknown>> = {
  advanceDeployment: (lost) =>
    advanceDeployment(database.db, lost, deployment, { phase: 'placing', message: 'x' }),
  reportTrouble: (lost) =>
    reportTrouble(database.db, lost, deployment, { reason: 'Unplaceable', message: 'x' }),
  finishDeployment: (lost) =>
    finishDeployment(database.db, lost, deployment, { phase: 'failed', reason: 'StartFailed', message: 'x' }),
  makeRevision: (lost) => makeRevision(database.db, lost, deployment, newRevision()),
  adoptRevision: (lost) =>
    adoptRevision(database.db, lost, deployment, { uid: 'rev' as RevisionUid, name: 'x', message: 'x' }),
  shiftTraffic: (lost) => shiftTraffic(database.db, lost, service.uid, { traffic: [] }),
  writeReadyCondition: (lost) =>
    writeReadyCondition(database.db, lost, service.uid, { observedGeneration: 1, ready }),
  drainReplicas: (lost) => drainReplicas(database.db, lost, service.uid, []),
  deleteServiceRows: (lost) => deleteServiceRows(database.db, lost, service.uid),
}

test.each(Object.entries(writes))('%s changes nothing under a lost lease', async (_name, write) => {
  const before = await rows()
  await expect(write({ ...lease, epoch: lease.epoch - 1 })).rejects.toThrow(LeaseLostError)
  expect(await rows()).toEqual(before)
})

describe('a deployment', () => {
  test('moves forward only, with an event for every step', async () => {
    await advanceDeployment(database.db, lease, deployment, { phase: 'pulling', node: 'n1', message: 'one' })
    await advanceDeployment(database.db, lease, deployment, { phase: 'placing', message: 'two' })
    const { deployment: row, events } = await rows()
    expect(row?.phase).toBe('pulling')
    expect(events.map(({ phase, node, message }) => [phase, node, message])).toEqual([
      ['pulling', 'n1', 'one'],
      ['pulling', null, 'two'],
    ])
  })
  test('that has ended stays as it is', async () => {
    const end = { phase: 'failed', reason: 'AppCrashed', message: 'exit 1' } as const
    await finishDeployment(database.db, lease, deployment, end)
    const before = await rows()
    expect(before.deployment).toMatchObject({ ...end, finishedAt: expect.any(Date) })
    await finishDeployment(database.db, lease, deployment, { ...end, phase: 'succeeded' })
    expect(await advanceDeployment(database.db, lease, deployment, { message: 'x' })).toBe(false)
    expect(await rows()).toEqual(before)
  })
  test('tells its trouble once', async () => {
    for (const message of ['no room', 'no room', 'no node'])
      await reportTrouble(database.db, lease, deployment, { reason: 'Unplaceable', message })
    expect((await rows()).events.map(({ message }) => message)).toEqual([
      'Unplaceable: no room',
      'Unplaceable: no node',
    ])
  })
})

describe('a revision', () => {
  test('is numbered and given to the deployment', async () => {
    expect(await makeRevision(database.db, lease, deployment, newRevision())).toEqual({
      name: `${service.name}-00001`,
    })
    expect(await rows()).toMatchObject({
      deployment: { phase: 'placing', revisionName: `${service.name}-00001` },
      status: { latestCreatedRevision: `${service.name}-00001` },
    })
  })
  test('has the name that the user gave, and a number all the same', async () => {
    expect(await makeRevision(database.db, lease, deployment, newRevision({ suffix: 'blue' }))).toEqual({
      name: `${service.name}-blue`,
    })
    const [made] = await database.db.select().from(revisions).where(eq(revisions.serviceUid, service.uid))
    expect(made).toMatchObject({ number: 1, name: `${service.name}-blue` })
  })
  test('of a name that is taken is not made', async () => {
    await insertRevision(database.db, { serviceUid: service.uid, name: `${service.name}-blue` })
    expect(await makeRevision(database.db, lease, deployment, newRevision({ suffix: 'blue' }))).toBe(
      'conflict',
    )
  })
  test.each([
    [
      'of another generation',
      () => makeRevision(database.db, lease, deployment, newRevision({ generation: 2 })),
    ],
    [
      'of a deployment that has ended',
      async () => {
        await finishDeployment(database.db, lease, deployment, {
          phase: 'cancelled',
          reason: null,
          message: 'x',
        })
        return makeRevision(database.db, lease, deployment, newRevision())
      },
    ],
  ])('%s is not made', async (_what, make) => {
    expect(await make()).toBe('conflict')
    const made = await database.db.select().from(revisions).where(eq(revisions.serviceUid, service.uid))
    expect(made).toEqual([])
  })
})

test('a deletion takes the spare sandbox of a failed replica with it', async () => {
  const { db } = database
  const { uid: nodeUid } = await insertNode(db)
  const { uid: revisionUid } = await insertRevision(db, { serviceUid: service.uid })
  const replica = await insertReplica(db, { revisionUid, nodeUid })
  const key = { nodeUid, projectUid: replica.projectUid, containerPort: 8080 }
  const spare = await reserveSpare(db, lease, key)
  await takeSpare(db, lease, key, replica.id, { joinUnready: true })
  await db.update(replicas).set({ state: 'failed' }).where(eq(replicas.id, replica.id))
  await db.update(services).set({ deletedAt: new Date() }).where(eq(services.uid, service.uid))
  expect(await deleteServiceRows(db, lease, service.uid)).toBe(true)
  const spares = await db
    .select()
    .from(spareSandboxes)
    .where(eq(spareSandboxes.id, spare?.id ?? ''))
  expect(spares).toEqual([])
})

test('a deletion waits for a reservation that is under way, and sees its replica', async () => {
  const { db } = database
  const { uid: nodeUid } = await insertNode(db)
  const { uid: revisionUid } = await insertRevision(db, { serviceUid: service.uid })
  const locked = Promise.withResolvers<void>()
  const goOn = Promise.withResolvers<void>()
  const reserving = withTransaction(db, async (tx) => {
    await lockReplicasOf(tx, service.uid)
    locked.resolve()
    await goOn.promise
    await insertReplica(tx, { revisionUid, nodeUid })
  })
  await locked.promise
  await db.update(services).set({ deletedAt: new Date() }).where(eq(services.uid, service.uid))
  const deleting = deleteServiceRows(db, lease, service.uid)
  const first = await Promise.race([
    deleting,
    new Promise((resolve) => void setTimeout(resolve, 200, 'waits')),
  ])
  expect(first).toBe('waits')
  goOn.resolve()
  await reserving
  expect(await deleting, 'a replica is left').toBe(false)
})

test('a deletion waits for replicas that have not failed, and rests the ports of the others', async () => {
  const { db } = database
  const { uid: nodeUid } = await insertNode(db)
  const { uid: revisionUid } = await insertRevision(db, { serviceUid: service.uid })
  const failed = await insertReplica(db, { revisionUid, nodeUid, state: 'failed' })
  const live = await insertReplica(db, { revisionUid, nodeUid, state: 'draining' })
  expect(await deleteServiceRows(db, lease, service.uid), 'nobody asked for it').toBe(false)
  await db.update(services).set({ deletedAt: new Date() }).where(eq(services.uid, service.uid))
  expect(await deleteServiceRows(db, lease, service.uid), 'a replica is left').toBe(false)
  await db.delete(replicas).where(eq(replicas.id, live.id))
  expect(await deleteServiceRows(db, lease, service.uid)).toBe(true)
  expect(await db.select().from(services).where(eq(services.uid, service.uid))).toEqual([])
  const ports = await db.select().from(hostPorts).where(eq(hostPorts.nodeUid, nodeUid))
  const port = ports.find((row) => row.port === failed.hostPort)
  expect(port).toMatchObject({ replicaId: null, quarantinedUntil: expect.any(Date) })
})

test('a service is behind until nothing is left to do', async () => {
  const { db } = database
  const isBehind = async () => (await listServicesBehind(db)).includes(service.uid)
  expect(await isBehind(), 'an open deployment').toBe(true)
  await finishDeployment(db, lease, deployment, { phase: 'succeeded', reason: null, message: 'x' })
  expect(await isBehind(), 'an unobserved generation').toBe(true)
  await writeReadyCondition(db, lease, service.uid, { observedGeneration: 1, ready })
  expect(await isBehind()).toBe(false)
  const { uid: nodeUid } = await insertNode(db)
  const revision = await insertRevision(db, { serviceUid: service.uid })
  await insertReplica(db, { revisionUid: revision.uid, nodeUid, state: 'ready' })
  expect(await isBehind(), 'a replica of a revision without traffic').toBe(true)
  await shiftTraffic(db, lease, service.uid, {
    traffic: [{ revision: revision.name, percent: 100, tag: null }],
  })
  expect(await isBehind()).toBe(false)
  await db.update(nodes).set({ scheduling: 'draining' }).where(eq(nodes.uid, nodeUid))
  expect(await isBehind(), 'a replica on a node that is drained').toBe(true)
  await db.update(nodes).set({ scheduling: 'cordoned' }).where(eq(nodes.uid, nodeUid))
  expect(await isBehind()).toBe(false)
  await db.update(services).set({ deletedAt: new Date() }).where(eq(services.uid, service.uid))
  expect(await isBehind(), 'a deletion').toBe(true)
})
