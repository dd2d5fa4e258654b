import type { RevisionUid } from '@berth/contracts'
import { expect, test } from 'vitest'
import { createStartFailures } from './start-failures.ts'

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
