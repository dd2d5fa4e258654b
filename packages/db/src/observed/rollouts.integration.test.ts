import { newId, type DeploymentId, type RolloutProgress } from '@berth/contracts'
import { eq, sql } from 'drizzle-orm'
import { afterAll, beforeAll, beforeEach, expect, inject, test } from 'vitest'
import { acquireLease, LeaseLostError, type LeaseRef } from '../leases.ts'
import { deploymentEvents, deployments, serviceStatus } from '../schema.ts'
import { insertRevision, insertService } from '../testing/builders.ts'
import { createTestDatabase, type TestDatabase } from '../testing/test-database.ts'
import {
  finishDeployment,
  readObservedRollouts,
  writeAnswersBefore,
  writeRolloutTrouble,
} from './deployments.ts'
import { listServicesBehind, rollBackTraffic, shiftTraffic, takeTrafficBack } from './service-status.ts'

let database: TestDatabase
let lease: LeaseRef
let service: Awaited<ReturnType<typeof insertService>>
let revisions: Awaited<ReturnType<typeof insertRevision>>[]
let deployment: DeploymentId

beforeAll(async () => {
  database = await createTestDatabase(inject('postgresUrl'))
})
afterAll(() => database.drop())

beforeEach(async () => {
  const { db } = database
  await db.execute(sql`truncate services cascade`)
  service = await insertService(db, { generation: 0 })
  const taken = await acquireLease(db, `service:${service.uid}`, 'w1', 600_000)
  if (!taken) throw new Error('no lease')
  lease = taken
  revisions = []
  for (const number of [1, 2]) revisions.push(await insertRevision(db, { serviceUid: service.uid, number }))
  deployment = newId('DeploymentId')
  await db.insert(deployments).values({
    id: deployment,
    projectUid: service.projectUid,
    serviceUid: service.uid,
    serviceName: service.name,
    generation: 2,
    trigger: 'update',
    createdBy: 'test',
    revisionUid: revisions[1]?.uid ?? '',
    revisionName: revisions[1]?.name ?? '',
  })
})

const nameOf = (number: number) => revisions[number - 1]?.name ?? ''
const back = () => ({ traffic: [{ revision: nameOf(1), percent: 100, tag: null }], latest: nameOf(1) })
const readDeployment = async () =>
  (await database.db.select().from(deployments).where(eq(deployments.id, deployment)))[0]
const readStatus = async () =>
  (await database.db.select().from(serviceStatus).where(eq(serviceStatus.serviceUid, service.uid)))[0]

async function shift(percent: number): Promise<void> {
  const at = new Date().toISOString()
  const rollout: RolloutProgress = {
    previous: nameOf(1),
    percent,
    startedAt: at,
    shiftedAt: at,
    acknowledgedAt: null,
  }
  await shiftTraffic(database.db, lease, service.uid, {
    traffic: [{ revision: nameOf(2), percent: 100, tag: null }],
    deployment: { id: deployment, message: 'moving', rollout },
    ready: { uid: revisions[1]?.uid ?? newId('RevisionUid'), name: nameOf(2), latest: percent === 100 },
  })
}

const succeed = () =>
  finishDeployment(database.db, lease, deployment, { phase: 'succeeded', reason: null, message: 'in place' })
const secondsAgo = (seconds: number) =>
  database.db.execute(
    sql`update deployments set finished_at = clock_timestamp() - ${seconds} * interval '1 second' where id = ${deployment}`,
  )

test('traffic is taken back together with the end of its deployment, once', async () => {
  const { db } = database
  await shift(10)
  const end = { phase: 'failed', reason: 'CrashLoop', message: 'it ended', node: 'n1' } as const
  expect(await takeTrafficBack(db, lease, service.uid, { deployment, back: back(), end })).toBe(true)
  expect(await readDeployment()).toMatchObject({
    phase: 'failed',
    reason: 'CrashLoop',
    rollout: { percent: 10 },
  })
  expect(await readStatus()).toMatchObject({ traffic: back().traffic, latestReadyRevision: nameOf(1) })
  await shift(100)
  expect(await takeTrafficBack(db, lease, service.uid, { deployment, back: back(), end })).toBe(false)
  const stale = { ...lease, epoch: lease.epoch - 1 }
  const late = takeTrafficBack(db, stale, service.uid, { deployment, back: back(), end })
  await expect(late).rejects.toThrow(LeaseLostError)
})

test('a deployment that succeeded is rolled back once, and tells when, where and why', async () => {
  const { db } = database
  await shift(100)
  await succeed()
  const why = { reason: 'CrashLoop', message: 'it ended', node: 'n1' } as const
  expect(await rollBackTraffic(db, lease, service.uid, { deployment, back: back(), why })).toBe(true)
  expect(await rollBackTraffic(db, lease, service.uid, { deployment, back: back(), why })).toBe(false)
  const { at, ...rolledBack } = (await readDeployment())?.rolledBack ?? { at: '' }
  expect(rolledBack).toEqual({ reason: 'CrashLoop', message: 'it ended' })
  expect(new Date(at).toISOString()).toBe(at)
  expect(await readStatus()).toMatchObject({ traffic: back().traffic, latestReadyRevision: nameOf(1) })
  const events = await db.select().from(deploymentEvents).where(eq(deploymentEvents.deploymentId, deployment))
  expect(events.at(-1)).toMatchObject({ phase: 'succeeded', node: 'n1', message: 'CrashLoop: it ended' })
})

test('a service is behind for as long as its last deployment is observed', async () => {
  const { db } = database
  await shift(100)
  await succeed()
  expect(await listServicesBehind(db)).toEqual([service.uid])
  await secondsAgo(31)
  expect(await listServicesBehind(db)).toEqual([])
})

test('the leader observes what has traffic, until it has said what is wrong or the time is over', async () => {
  const { db } = database
  expect(await readObservedRollouts(db)).toEqual([])
  await shift(0)
  expect(await readObservedRollouts(db)).toEqual([])
  await shift(10)
  const observed = { deployment, name: nameOf(2), revision: revisions[1]?.uid, previous: revisions[0]?.uid }
  expect(await readObservedRollouts(db)).toMatchObject([observed])
  await succeed()
  expect(await readObservedRollouts(db)).toMatchObject([observed])
  await secondsAgo(31)
  expect(await readObservedRollouts(db)).toEqual([])
  await secondsAgo(1)
  await writeRolloutTrouble(db, lease, deployment, { reason: 'ErrorRate', message: 'first' })
  await writeRolloutTrouble(db, lease, deployment, { reason: 'ErrorRate', message: 'second' })
  expect(await readObservedRollouts(db)).toEqual([])
  expect(await readDeployment()).toMatchObject({ trouble: { message: 'first' } })
})

test('what the revision before answered is kept once, for the next leader', async () => {
  const { db } = database
  await shift(100)
  expect(await readObservedRollouts(db)).toMatchObject([{ answersBefore: null }])
  await writeAnswersBefore(db, { ...lease, epoch: lease.epoch - 1 }, deployment, { requests: 1, failed: 1 })
  await writeAnswersBefore(db, lease, deployment, { requests: 40, failed: 1 })
  await writeAnswersBefore(db, lease, deployment, { requests: 50, failed: 2 })
  expect(await readObservedRollouts(db)).toMatchObject([{ answersBefore: { requests: 40, failed: 1 } }])
})
