import type { ReplicaId } from '@berth/contracts'
import { describe, expect, test } from 'vitest'
import { createRouterMembership } from './router-membership.ts'

const version = (sequence: number) => ({ epoch: 1, sequence })
const replica = 'rep-1' as ReplicaId

function setUp() {
  const clock = { ms: 0 }
  const excused: string[] = []
  const ports = { gone: false }
  const membership = createRouterMembership({
    now: () => clock.ms,
    isGone: () => Promise.resolve(ports.gone),
    onExcused: (router) => excused.push(router),
  })
  return { membership, clock, excused, ports }
}

describe('waiting for routers', () => {
  test('ends at once when none is known', async () => {
    expect(await setUp().membership.acknowledged(version(1), [], 1000)).toBe(true)
  })

  test('ends when the last of them has acknowledged', async () => {
    const { membership } = setUp()
    membership.hello('a', '1', 1, true)
    membership.hello('b', '1', 2, true, version(1))
    const done = membership.acknowledged(version(2), [], 5000)
    membership.acknowledge('a', version(2), [])
    membership.acknowledge('b', version(3), [])
    expect(await done).toBe(true)
  })

  test('goes on while one lingers on the replica, and ends when it lets go', async () => {
    const { membership } = setUp()
    membership.hello('a', '1', 1, true)
    membership.acknowledge('a', version(2), [replica])
    expect(await membership.acknowledged(version(2), [replica], 20)).toBe(false)
    const done = membership.acknowledged(version(2), [replica], 5000)
    membership.acknowledge('a', version(2), [])
    expect(await done).toBe(true)
  })

  test('does not count a version of an older epoch', async () => {
    const { membership } = setUp()
    membership.hello('a', '1', 1, true, { epoch: 0, sequence: 99 })
    expect(await membership.acknowledged(version(1), [], 20)).toBe(false)
  })
})

describe('a router that is closed', () => {
  test('is excused at once when its admin port refuses', async () => {
    const { membership, excused, ports } = setUp()
    membership.hello('a', '1', 1, true)
    const done = membership.acknowledged(version(1), [], 5000)
    ports.gone = true
    membership.disconnected('a', '1')
    expect(await done).toBe(true)
    expect(excused).toEqual(['a'])
  })

  test('is waited for while its admin port answers, and excused after 10 s of silence', async () => {
    const { membership, clock, excused } = setUp()
    membership.hello('a', '1', 1, true)
    membership.disconnected('a', '1')
    clock.ms = 9000
    membership.tick()
    expect(await membership.acknowledged(version(1), [], 20)).toBe(false)
    clock.ms = 10_001
    membership.tick()
    expect(excused).toEqual(['a'])
    expect(await membership.acknowledged(version(1), [], 20)).toBe(true)
  })

  test('is not mistaken for its successor of the same id', () => {
    const { membership } = setUp()
    membership.hello('a', '1', 1, true)
    membership.hello('a', '2', 1, true)
    membership.disconnected('a', '1')
    expect(membership.known()).toMatchObject([{ incarnation: '2', connected: true }])
  })

  test('and known only from the leader before is waited for, and not counted as heard', async () => {
    const { membership, clock } = setUp()
    membership.expect('a', '1', 1)
    expect(membership.known()).toMatchObject([{ id: 'a', heard: false }])
    expect(await membership.acknowledged(version(1), [], 20)).toBe(false)
    membership.hello('a', '1', 1, true)
    expect(membership.known()).toMatchObject([{ id: 'a', heard: true }])
    membership.expect('b', '1', 1)
    clock.ms = 10_001
    membership.tick()
    expect(membership.known().map(({ id }) => id)).toEqual(['a'])
  })

  test('that said goodbye is forgotten without an excuse', () => {
    const { membership, excused } = setUp()
    membership.hello('a', '1', 1, true)
    membership.goodbye('a')
    expect(membership.known()).toEqual([])
    expect(excused).toEqual([])
  })
})
