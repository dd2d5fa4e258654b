import type { RevisionUid } from '@berth/contracts'
import { expect, test } from 'vitest'
import { createStartFailures } from './start-failures.ts'
import { aReplica } from './testing/picture.ts'
import type { ReplicaView } from './world-model.ts'

const revision = 'rev-1' as RevisionUid
const crash = { reason: 'AppCrashed', message: 'exit code 1; its last lines were: hunter2-hunter2' } as const

function setUp(failed: number) {
  const clock = { ms: 0 }
  const failures = createStartFailures(() => clock.ms)
  for (let count = 0; count < failed; count += 1) failures.failed(revision, crash)
  return { clock, failures }
}

test('a start is tried again after a back-off that doubles', () => {
  const { clock, failures } = setUp(2)
  clock.ms = 1999
  expect(failures.mayStart(revision)).toBe(false)
  clock.ms = 2000
  expect(failures.mayStart(revision)).toBe(true)
})

test('requests wait for the first two tries, then are answered until the next one', () => {
  expect(setUp(2).failures.blocked(revision)).toBeNull()
  const { clock, failures } = setUp(3)
  expect(failures.blocked(revision)).not.toBeNull()
  clock.ms = 4000
  expect(failures.blocked(revision)).toBeNull()
})

test('strangers are told the reason and nothing that the app printed, the owner all of it', () => {
  const { failures } = setUp(3)
  expect(failures.blocked(revision)).toEqual({
    reason: 'AppCrashed',
    message: 'The app ended while it was starting or serving.',
  })
  expect(failures.lasting(revision)).toEqual(crash)
})

test('the owner is told until a start succeeds, between tries too', () => {
  const { clock, failures } = setUp(3)
  clock.ms = 60_000
  expect(failures.lasting(revision)).toEqual(crash)
  failures.succeeded(revision)
  expect(failures.lasting(revision)).toBeNull()
  expect(failures.mayStart(revision)).toBe(true)
})

test('a revision that is gone is forgotten', () => {
  const { failures } = setUp(3)
  failures.forget(() => true)
  expect(failures.lasting(revision)).not.toBeNull()
  failures.forget(() => false)
  expect(failures.lasting(revision)).toBeNull()
})

test('a lost node is no failure of the revision', () => {
  const { failures } = setUp(0)
  failures.failed(revision, { reason: 'NodeLost', message: 'its node does not answer' })
  expect(failures.mayStart(revision)).toBe(true)
})

/** The row of a replica that failed so many ms ago. */
function failedRow(agoMs: number, change: Partial<ReplicaView> = {}): ReplicaView {
  const failedAt = new Date(Date.now() - agoMs)
  return aReplica({ state: 'failed', readyAt: null, failedAt, ...crash, ...change })
}

test('a new leader goes on from the rows of what has failed', () => {
  const { clock, failures } = setUp(0)
  failures.recall([failedRow(30_000), failedRow(0), failedRow(20_000)])
  expect(failures.lasting(revision)).toEqual(crash)
  clock.ms = 2000
  expect(failures.mayStart(revision)).toBe(false)
  clock.ms = 4000
  expect(failures.mayStart(revision)).toBe(true)
  failures.failed(revision, crash)
  clock.ms += 7999
  expect(failures.mayStart(revision)).toBe(false)
})

test('what failed before a replica was ready for the last time counts no more, nor what a lost node took along', () => {
  const { failures } = setUp(0)
  const ready = aReplica({ readyAt: new Date(Date.now() - 5_000) })
  failures.recall([failedRow(30_000), failedRow(10_000), ready, failedRow(0, { reason: 'NodeLost' })])
  expect(failures.mayStart(revision)).toBe(true)
})
