import type { HelloFrame, ReplicaId } from '@berth/contracts'
import { describe, expect, test } from 'vitest'
import { createRouterMembership } from './router-membership.ts'

const version = (sequence: number) => ({ epoch: 1, sequence })
const replica = 'rep-1' as ReplicaId

function aHello(router: string, incarnation: string, adminPort: number): HelloFrame {
  return { kind: 'hello', router, incarnation, adminPort }
}

function setUp() {
  const clock = { ms: 0 }
  const excused: string[] = []
  /** Those among them whose process is known to be over. */
  const over: string[] = []
  const ended = new Set<number>()
  const ports = { gone: false }
  const membership = createRouterMembership({
    now: () => clock.ms,
    isGone: () => Promise.resolve(ports.gone),
    hasEnded: (process) => process !== undefined && ended.has(process.pid),
    onExcused(router, _why, how) {
      excused.push(router)
      if (how.ended) over.push(router)
    },
  })
  /** Lets time pass as a running process sees it: with a tick every second. */
  function pass(ms: number): void {
    const until = clock.ms + ms
    while (clock.ms < until) {
      clock.ms = Math.min(until, clock.ms + 1000)
      membership.tick()
    }
  }
  return { membership, clock, excused, over, ended, ports, pass }
}

describe('waiting for routers', () => {
  test('ends at once when none is known', async () => {
    expect(await setUp().membership.acknowledged(version(1), [], 1000)).toBe(true)
  })

  test('does not end before those that serve have had time to find a new leader', async () => {
    const { membership, pass } = setUp()
    membership.begin()
    expect(membership.isEmpty()).toBe(false)
    expect(await membership.acknowledged(version(1), [], 20)).toBe(false)
    const done = membership.acknowledged(version(1), [], 20_000)
    pass(1000)
    membership.hello(aHello('a', '1', 1), true)
    pass(2000)
    expect(await membership.acknowledged(version(1), [], 20)).toBe(false)
    membership.acknowledge('a', version(1), [])
    expect(await done).toBe(true)
  })

  test('ends after that time when none has come', async () => {
    const { membership, pass } = setUp()
    membership.begin()
    const done = membership.acknowledged(version(1), [], 20_000)
    pass(2000)
    expect(await done).toBe(true)
    expect(membership.isEmpty()).toBe(true)
  })

  test('fails when the term ends, and knows nobody afterwards', async () => {
    const { membership, excused, pass } = setUp()
    membership.hello(aHello('a', '1', 1), true)
    const done = membership.acknowledged(version(1), [], 20_000)
    membership.end()
    expect(await done).toBe(false)
    pass(20_000)
    expect(membership.known()).toEqual([])
    expect(excused).toEqual([])
  })

  test('ends when the last of them has acknowledged', async () => {
    const { membership } = setUp()
    membership.hello(aHello('a', '1', 1), true)
    membership.hello(aHello('b', '1', 2), true)
    const done = membership.acknowledged(version(2), [], 5000)
    membership.acknowledge('a', version(2), [])
    membership.acknowledge('b', version(3), [])
    expect(await done).toBe(true)
  })

  test('goes on while one lingers on the replica, and ends when it lets go', async () => {
    const { membership } = setUp()
    membership.hello(aHello('a', '1', 1), true)
    membership.acknowledge('a', version(2), [replica])
    expect(await membership.acknowledged(version(2), [replica], 20)).toBe(false)
    const done = membership.acknowledged(version(2), [replica], 5000)
    membership.acknowledge('a', version(2), [])
    expect(await done).toBe(true)
  })

  test('does not count a version of an older epoch', async () => {
    const { membership } = setUp()
    membership.hello(aHello('a', '1', 1), true)
    membership.acknowledge('a', { epoch: 0, sequence: 99 }, [])
    expect(await membership.acknowledged(version(1), [], 20)).toBe(false)
  })
})

describe('a router that says hello again', () => {
  test('has acknowledged what it had before, and no more', async () => {
    const { membership } = setUp()
    membership.hello(aHello('a', '1', 1), true)
    membership.acknowledge('a', version(1), [])
    membership.disconnected('a', '1')
    // It may serve version 2 by now and still have requests on what that withdrew: only it knows.
    membership.hello(aHello('a', '1', 1), true)
    expect(await membership.acknowledged(version(1), [], 20)).toBe(true)
    expect(await membership.acknowledged(version(2), [replica], 20)).toBe(false)
    membership.acknowledge('a', version(2), [replica])
    expect(await membership.acknowledged(version(2), [replica], 20)).toBe(false)
  })

  test('as another process has acknowledged nothing', async () => {
    const { membership } = setUp()
    membership.hello(aHello('a', '1', 1), true)
    membership.acknowledge('a', version(1), [])
    membership.hello(aHello('a', '2', 1), true)
    expect(await membership.acknowledged(version(1), [], 20)).toBe(false)
  })
})

describe('a router that is silent', () => {
  test('is excused after 10 s although its connection is open', async () => {
    const { membership, excused, pass } = setUp()
    membership.hello(aHello('a', '1', 1), true)
    const done = membership.acknowledged(version(1), [], 20_000)
    pass(10_000)
    expect(excused).toEqual([])
    pass(1000)
    expect(excused).toEqual(['a'])
    expect(await done).toBe(true)
  })

  test('is not excused for the time that this process stood still itself', () => {
    const { membership, clock, excused, pass } = setUp()
    membership.hello(aHello('a', '1', 1), true)
    clock.ms += 60_000
    membership.tick()
    pass(9000)
    expect(excused).toEqual([])
  })
})

describe('a router that speaks through Redis alone', () => {
  test('is not asked for on this host, where it may not be', async () => {
    const { membership, excused, ports, pass } = setUp()
    ports.gone = true
    membership.expect('a', '1', 1)
    membership.hello(aHello('a', '1', 1), false)
    pass(9000)
    await Promise.resolve()
    expect(excused).toEqual([])
    pass(2000)
    expect(excused).toEqual(['a'])
  })
})

describe('a router that is closed', () => {
  test('is excused at once when its admin port refuses', async () => {
    const { membership, excused, ports } = setUp()
    membership.hello(aHello('a', '1', 1), true)
    const done = membership.acknowledged(version(1), [], 5000)
    ports.gone = true
    membership.disconnected('a', '1')
    expect(await done).toBe(true)
    expect(excused).toEqual(['a'])
  })

  test('is waited for while its admin port answers, and excused after 10 s of silence', async () => {
    const { membership, excused, pass } = setUp()
    membership.hello(aHello('a', '1', 1), true)
    membership.disconnected('a', '1')
    pass(9000)
    expect(await membership.acknowledged(version(1), [], 20)).toBe(false)
    pass(2000)
    expect(excused).toEqual(['a'])
    expect(await membership.acknowledged(version(1), [], 20)).toBe(true)
  })

  test('is not mistaken for its successor of the same id', () => {
    const { membership } = setUp()
    membership.hello(aHello('a', '1', 1), true)
    membership.hello(aHello('a', '2', 1), true)
    membership.disconnected('a', '1')
    expect(membership.known()).toMatchObject([{ incarnation: '2', connected: true }])
  })

  test('and known only from the leader before is waited for, and not counted as heard', async () => {
    const { membership, pass, ports, excused } = setUp()
    membership.expect('a', '1', 1)
    expect(membership.known()).toMatchObject([{ id: 'a', heard: false }])
    expect(await membership.acknowledged(version(1), [], 20)).toBe(false)
    membership.hello(aHello('a', '1', 1), true)
    expect(membership.known()).toMatchObject([{ id: 'a', heard: true }])
    membership.expect('b', '1', 1)
    ports.gone = true
    pass(3000)
    await expect.poll(() => excused).toEqual(['b'])
    expect(membership.known().map(({ id }) => id)).toEqual(['a'])
  })

  test('that said goodbye is forgotten without an excuse', () => {
    const { membership, excused } = setUp()
    membership.hello(aHello('a', '1', 1), true)
    let changes = 0
    membership.onChange(() => (changes += 1))
    membership.goodbye('a')
    expect(membership.known()).toEqual([])
    expect(excused).toEqual([])
    expect(changes).toBe(1)
  })
})

describe('a router whose process has ended', () => {
  test('is gone as soon as its connection is closed, and known to be over', () => {
    const { membership, excused, over, ended } = setUp()
    membership.hello({ ...aHello('a', '1', 1), process: { pid: 7, namespace: 'n' } }, true)
    membership.hello({ ...aHello('b', '1', 2), process: { pid: 8, namespace: 'n' } }, true)
    ended.add(7)
    membership.tick()
    expect(excused).toEqual([])
    membership.disconnected('a', '1')
    membership.disconnected('b', '1')
    expect([excused, over]).toEqual([['a'], ['a']])
  })

  test('is noticed a moment later where its parent takes its time', () => {
    const { membership, over, ended, pass } = setUp()
    membership.hello({ ...aHello('a', '1', 1), process: { pid: 7, namespace: 'n' } }, true)
    membership.disconnected('a', '1')
    expect(over).toEqual([])
    ended.add(7)
    pass(1000)
    expect(over).toEqual(['a'])
  })
})
