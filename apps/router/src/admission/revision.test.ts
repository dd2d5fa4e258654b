import fc from 'fast-check'
import { afterEach, describe, expect, test, vi } from 'vitest'
import type { RevisionRoute, RevisionSlots, SlotsFrame } from '@berth/contracts'
import { aReplica, aRevision } from '../testing/routes.ts'
import type { Upstream } from '../upstream/upstream.ts'
import type { Claim, Replica } from './replica.ts'
import type { Refusal } from './revision-queue.ts'
import { RevisionAdmission } from './revision.ts'
import { Slots } from './slots.ts'

afterEach(() => void vi.useRealTimers())

const silent: Upstream = {
  send: () => ({ resume: () => undefined, abort: () => undefined, breakOff: () => undefined }),
  answers: () => Promise.resolve(true),
  close: () => Promise.resolve(),
}

/** Admission with a clock of its own, or with `now`. */
function admission(route: Partial<RevisionRoute>, now?: () => number) {
  const clock = { now: 0 }
  const emptied: string[] = []
  const failed: string[] = []
  const slots = new Slots()
  const gaveBack: RevisionSlots['replicas'][] = []
  const revision = new RevisionAdmission(aRevision(route), {
    now: now ?? (() => clock.now),
    connect: () => silent,
    onQueued: () => undefined,
    onEmptied: (replica: Replica) => emptied.push(replica.id),
    onEjected: (replica) => failed.push(`${replica.id} ejected`),
    onReplicaFailed: (replica, cause) => failed.push(`${replica.id} ${cause}`),
    slots,
    onGaveBack: () => gaveBack.push(slots.held(['rev-1']).revisions[0]?.replicas ?? []),
  })
  return { revision, clock, emptied, failed, slots, gaveBack }
}

function waiting(revision: RevisionAdmission, bytes = 0, deadlineMs = 60_000) {
  const seen: { claim?: Claim; refusal?: Refusal; leave: () => void } = { leave: () => undefined }
  seen.leave = revision.wait({
    bytes,
    deadlineMs,
    grant: (claim) => (seen.claim = claim),
    refuse: (refusal) => (seen.refusal = refusal),
  })
  return seen
}

/** The clock of the fake timers as a router reads it: a timer fires a little early, and time goes on while it runs. */
function clockOfEarlyTimers(): () => number {
  let last = 0
  let readings = 0
  return () => {
    readings += 1
    last = Math.max(last, performance.now() - (readings % 2 === 0 ? 0 : 0.7))
    return last
  }
}

function must<Value>(value: Value | undefined): Value {
  if (value === undefined) throw new Error('nothing there')
  return value
}

describe('claims', () => {
  test('are never more than concurrency allows and are given back once, whatever happens', () => {
    vi.useFakeTimers()
    const step = fc.oneof(
      fc.record({ kind: fc.constant('ask' as const) }),
      fc.record({ kind: fc.constant('release' as const), nth: fc.nat(20), twice: fc.boolean() }),
      fc.record({ kind: fc.constant('leave' as const), nth: fc.nat(20) }),
      fc.record({
        kind: fc.constant('list' as const),
        ids: fc.uniqueArray(fc.constantFrom('a', 'b', 'c'), { maxLength: 2 }),
      }),
      fc.record({ kind: fc.constant('fail' as const), nth: fc.nat(20) }),
      fc.record({ kind: fc.constant('succeed' as const), nth: fc.nat(20) }),
      fc.record({ kind: fc.constant('pass' as const), ms: fc.integer({ min: 1, max: 6000 }) }),
    )
    const property = fc.property(
      fc.integer({ min: 1, max: 5 }),
      fc.array(step, { maxLength: 60 }),
      (concurrency, steps) => {
        const now = clockOfEarlyTimers()
        const { revision } = admission({ concurrency, replicas: [aReplica('a')] }, now)
        const held: Claim[] = []
        const waiters: { leave: () => void }[] = []
        const ever = new Set<Replica>()
        for (const step of steps) {
          if (step.kind === 'ask') {
            const claim = revision.tryClaim()
            if (claim) held.push(claim)
            else
              waiters.push({
                leave: revision.wait({
                  bytes: 1,
                  deadlineMs: 60_000,
                  grant: (granted) => held.push(granted),
                  refuse: () => undefined,
                }),
              })
          } else if (step.kind === 'release') {
            const [claim] = held.splice(step.nth % Math.max(1, held.length), 1)
            claim?.release()
            if (step.twice) claim?.release()
          } else if (step.kind === 'leave') {
            const [waiter] = waiters.splice(step.nth % Math.max(1, waiters.length), 1)
            waiter?.leave()
          } else if (step.kind === 'fail' || step.kind === 'succeed') {
            const claim = held[step.nth % Math.max(1, held.length)]
            if (claim && step.kind === 'fail') revision.failed(claim, 'died')
            else if (claim) revision.succeeded(claim, 200)
          } else if (step.kind === 'pass') vi.advanceTimersByTime(step.ms)
          else revision.update(aRevision({ concurrency, replicas: step.ids.map((id) => aReplica(id)) }))
          for (const claim of held) ever.add(claim.replica)
          const byId = new Map<string, number>()
          for (const { replica } of held) byId.set(replica.id, (byId.get(replica.id) ?? 0) + 1)
          for (const count of byId.values()) expect(count).toBeLessThanOrEqual(concurrency)
          expect(revision.inFlight).toBe(held.length)
          // Nobody waits for long while a replica has a free slot.
          vi.advanceTimersByTime(2)
          const free = revision.replicas.some((replica) => replica.hasFreeSlot(now() - 2))
          expect(free && revision.queued > 0).toBe(false)
        }
        for (const claim of held.splice(0)) claim.release()
        while (held.length > 0) held.pop()?.release()
        revision.remove()
        expect([...ever].every((replica) => replica.inFlight === 0)).toBe(true)
      },
    )
    fc.assert(property, { numRuns: 1000 })
  })

  test('go to who waited longest', () => {
    const { revision } = admission({ concurrency: 1, replicas: [aReplica('a')] })
    const first = must(revision.tryClaim())
    const [one, two] = [waiting(revision), waiting(revision)]
    expect(revision.tryClaim()).toBeUndefined()
    first.release()
    expect(one.claim?.replica.id).toBe('a')
    expect(two.claim).toBeUndefined()
    one.claim?.release()
    expect(two.claim?.replica.id).toBe('a')
  })
})

describe('balance', () => {
  test('up to concurrency 3 the replica used last is used again, so that the tail goes idle', () => {
    const { revision } = admission({ concurrency: 1, replicas: ['a', 'b', 'c'].map((id) => aReplica(id)) })
    const claims = [1, 2, 3].map(() => must(revision.tryClaim()))
    const [, middle, last] = claims
    for (const claim of claims) if (claim !== middle) claim.release()
    middle?.release()
    expect(must(revision.tryClaim()).replica.id).toBe(middle?.replica.id)
    expect(must(revision.tryClaim()).replica.id).toBe(last?.replica.id)
  })

  test('above, the replica with the fewest requests takes the next', () => {
    const { revision } = admission({
      concurrency: 10,
      replicas: [aReplica('a'), aReplica('b'), aReplica('c')],
    })
    for (let i = 0; i < 9; i += 1) revision.tryClaim()
    expect(revision.replicas.map(({ inFlight }) => inFlight)).toEqual([3, 3, 3])
  })

  test('0 is unlimited', () => {
    const { revision } = admission({ concurrency: 0, replicas: [aReplica('a')] })
    for (let i = 0; i < 2000; i += 1) must(revision.tryClaim())
    expect(revision.inFlight).toBe(2000)
  })
})

describe('waiting', () => {
  test('is bounded by number and by bytes', () => {
    const { revision } = admission({})
    for (let i = 0; i < 10_000; i += 1) waiting(revision)
    expect(waiting(revision).refusal).toEqual({ kind: 'queue-full', atMaxScale: false })
    revision.remove()
    const heavy = admission({ atMaxScale: true, concurrency: 1, replicas: [aReplica('busy')] }).revision
    must(heavy.tryClaim())
    const first = waiting(heavy, 60 * 1024 * 1024)
    expect(waiting(heavy, 5 * 1024 * 1024).refusal).toEqual({ kind: 'queue-full', atMaxScale: true })
    first.leave()
    expect(waiting(heavy, 5 * 1024 * 1024).refusal).toBeUndefined()
    heavy.remove()
  })

  test('is refused at once when it would be in vain, but not while more replicas may come', () => {
    const route = { atMaxScale: true, concurrency: 1, replicas: [aReplica('a')] }
    const { revision, clock } = admission(route)
    let served = must(revision.tryClaim())
    const serveNext = (waiter: ReturnType<typeof waiting>) => {
      clock.now += 10
      served.release()
      served = must(waiter.claim)
    }
    const first = Array.from({ length: 90 }, () => waiting(revision, 0, 1000))
    for (const waiter of first.slice(0, 30)) serveNext(waiter)
    const more = Array.from({ length: 60 }, () => waiting(revision, 0, 1000))
    expect(more.filter(({ refusal }) => refusal === undefined)).toHaveLength(31)
    expect(more.at(-1)?.refusal).toEqual({ kind: 'queue-full', atMaxScale: true })
    revision.update(aRevision({ ...route, atMaxScale: false }))
    expect(waiting(revision, 0, 1000).refusal).toBeUndefined()
    revision.remove()
  })

  test('ends at the deadline', () => {
    vi.useFakeTimers()
    const { revision } = admission({})
    const waiter = waiting(revision, 0, 5000)
    vi.advanceTimersByTime(4999)
    expect(waiter.refusal).toBeUndefined()
    vi.advanceTimersByTime(1)
    expect(waiter.refusal).toEqual({ kind: 'queue-deadline', atMaxScale: false })
    expect(revision.queued).toBe(0)
  })

  test('goes on when the revision is blocked but still has a replica', () => {
    const route = aRevision({ concurrency: 1, replicas: [aReplica('a')] })
    const { revision } = admission(route)
    const claim = must(revision.tryClaim())
    const waiter = waiting(revision)
    revision.update({ ...route, blocked: { reason: 'Unplaceable', message: 'full' } })
    expect(waiter.refusal).toBeUndefined()
    claim.release()
    expect(waiter.claim).toBeDefined()
  })

  test('ends when the revision leaves the table', () => {
    const { revision } = admission({})
    const waiter = waiting(revision)
    revision.remove()
    expect(waiter.refusal).toEqual({ kind: 'withdrawn' })
  })

  test('does not begin for a second attempt whose revision has left the table, and does when it is back', () => {
    const { revision } = admission({ concurrency: 1, replicas: [aReplica('a')] })
    const claim = must(revision.tryClaim())
    revision.remove()
    claim.release()
    expect(revision.tryClaim({ again: true })).toBeUndefined()
    expect(waiting(revision).refusal).toEqual({ kind: 'withdrawn' })
    revision.update(aRevision())
    expect(waiting(revision).refusal).toBeUndefined()
    revision.remove()
  })
})

describe('a replica that failed', () => {
  test('is out for a while, longer each time, and who waits gets it when it is back', () => {
    vi.useFakeTimers()
    const { revision, clock, failed } = admission({ concurrency: 1, replicas: [aReplica('a')] })
    const claim = must(revision.tryClaim())
    revision.failed(claim, 'connect')
    claim.release()
    expect(failed).toEqual(['a connect'])
    const waiter = waiting(revision)
    clock.now = 100
    vi.advanceTimersByTime(100)
    const again = must(waiter.claim)
    revision.failed(again, 'connect')
    again.release()
    clock.now = 450
    expect(revision.tryClaim()).toBeUndefined()
    clock.now = 500
    const good = must(revision.tryClaim())
    revision.succeeded(good, 200)
    good.release()
    expect(revision.tryClaim()).toBeDefined()
  })

  test('is out once for all requests that die together, however late the last of them dies', () => {
    const { revision, clock, failed } = admission({ concurrency: 0, replicas: [aReplica('a')] })
    const together = Array.from({ length: 10 }, () => must(revision.tryClaim()))
    const late = must(revision.tryClaim())
    for (const claim of together) revision.failed(claim, 'died')
    expect(failed).toEqual(['a died'])
    clock.now = 100
    const next = must(revision.tryClaim())
    revision.failed(late, 'died')
    expect(revision.tryClaim()).toBeDefined()
    revision.failed(next, 'died')
    expect(revision.tryClaim()).toBeUndefined()
    expect(failed).toHaveLength(2)
    clock.now = 500
    expect(revision.tryClaim()).toBeDefined()
  })

  test('is found by who waits, though its timer fires early and the clock catches up just then', () => {
    vi.useFakeTimers()
    const clock = { now: 0, step: 0 }
    const now = () => (clock.now += clock.step)
    const { revision } = admission({ concurrency: 1, replicas: [aReplica('a')] }, now)
    const claim = must(revision.tryClaim())
    revision.failed(claim, 'connect')
    claim.release()
    const waiter = waiting(revision)
    // The timer of 100 ms reads 99.6 first, and 100.2 next.
    Object.assign(clock, { now: 99, step: 0.6 })
    vi.advanceTimersByTime(100)
    expect(waiter.claim).toBeUndefined()
    vi.advanceTimersByTime(2)
    expect(waiter.claim).toBeDefined()
  })

  test('is there at once for who waits when an older request of it is answered after all', () => {
    const { revision } = admission({ concurrency: 2, replicas: [aReplica('a')] })
    const [slow, died] = [must(revision.tryClaim()), must(revision.tryClaim())]
    revision.failed(died, 'died')
    died.release()
    expect(revision.tryClaim()).toBeUndefined()
    const waiter = waiting(revision)
    revision.succeeded(slow, 200)
    expect(waiter.claim).toBeDefined()
  })

  test('lets nobody queue up behind who waits once it is back, however late its timer is', () => {
    vi.useFakeTimers()
    const { revision, clock } = admission({ concurrency: 2, replicas: [aReplica('a')] })
    const claim = must(revision.tryClaim())
    revision.failed(claim, 'connect')
    claim.release()
    const waiter = waiting(revision)
    clock.now = 100
    expect(revision.tryClaim()).toBeDefined()
    expect(waiter.claim).toBeDefined()
  })
})

describe('a replica that is retired', () => {
  const route = aRevision({ replicas: [aReplica('a'), aReplica('b')] })

  test('tells whoever holds a claim, once, also when it is asked afterwards', () => {
    const { revision } = admission(route)
    const claim = must(revision.tryClaim())
    let told = 0
    claim.replica.onLeave(() => (told += 1))
    const forget = claim.replica.onLeave(() => (told += 100))
    forget()
    revision.update({ ...route, replicas: [], leaving: [claim.replica.id] })
    revision.update({ ...route, replicas: [], leaving: [claim.replica.id] })
    expect(told).toBe(1)
    claim.replica.onLeave(() => (told += 1))
    expect(told).toBe(2)
  })

  test('is not one that only steps down', () => {
    const { revision } = admission(route)
    const claim = must(revision.tryClaim())
    let told = 0
    claim.replica.onLeave(() => (told += 1))
    revision.update({ ...route, replicas: [], leaving: ['another'] })
    expect(told).toBe(0)
    revision.update(route)
    expect(revision.replicas).toContain(claim.replica)
  })
})

describe('a client that is to come back', () => {
  const replicas = [aReplica('a'), aReplica('b'), aReplica('c')]
  const tokenOf = (revision: RevisionAdmission, id: string) => {
    const replica = revision.replicas.find((each) => each.id === id)
    return replica?.affinityToken(revision.route.serviceUid)
  }

  test.each([1, 80])('gets its replica again, at concurrency %i, whoever is next', (concurrency) => {
    for (const id of ['a', 'b', 'c']) {
      const { revision } = admission({ concurrency, replicas })
      must(revision.tryClaim())
      const preferred = tokenOf(revision, id === 'a' && concurrency === 1 ? 'b' : id)
      expect(revision.affinityTokenOf(must(revision.tryClaim({ preferred })))).toBe(preferred)
    }
  })

  test('takes another one at once when its own is full, out or gone', () => {
    const { revision } = admission({ concurrency: 1, replicas })
    const preferred = tokenOf(revision, 'b')
    const own = must(revision.tryClaim({ preferred }))
    expect(must(revision.tryClaim({ preferred })).replica.id).not.toBe('b')
    own.release()
    revision.failed(own, 'connect')
    expect(must(revision.tryClaim({ preferred })).replica.id).not.toBe('b')
    revision.update({ ...revision.route, concurrency: 80, replicas: [aReplica('c')] })
    expect(must(revision.tryClaim({ preferred })).replica.id).toBe('c')
  })

  test('does not overtake those that wait', () => {
    const { revision } = admission({ concurrency: 1, replicas: [aReplica('a')] })
    const claim = must(revision.tryClaim())
    const first = waiting(revision)
    expect(revision.tryClaim({ preferred: tokenOf(revision, 'a') })).toBeUndefined()
    claim.release()
    expect(first.claim).toBeDefined()
  })
})

describe('the report', () => {
  test('averages what was in flight and queued over the time since the one before', () => {
    const { revision, clock } = admission({ concurrency: 1, replicas: [aReplica('a')] })
    const claim = must(revision.tryClaim())
    clock.now = 100
    revision.tryClaim()
    const waiter = waiting(revision)
    clock.now = 300
    waiter.leave()
    clock.now = 400
    claim.release()
    clock.now = 500
    // (1 x 100 + 2 x 200 + 1 x 100 + 0 x 100) / 500
    expect(revision.report()).toMatchObject({
      concurrency: 1.2,
      requests: 2,
      inFlight: 0,
      queued: 0,
      replicas: [{ id: 'a', inFlight: 0, idleMs: 100 }],
    })
    clock.now = 1000
    expect(revision.report()).toMatchObject({ concurrency: 0, requests: 0, replicas: [{ idleMs: 600 }] })
  })

  test('counts a request that was tried twice once', () => {
    const { revision } = admission({ concurrency: 2, replicas: [aReplica('a')] })
    must(revision.tryClaim()).release()
    must(revision.tryClaim({ again: true })).release()
    expect(revision.report()).toMatchObject({ requests: 1 })
  })

  test('tells each answer once', () => {
    const { revision } = admission({ replicas: [aReplica('a')] })
    revision.answered({ failed: false })
    revision.answered({ failed: true })
    expect(revision.report()).toMatchObject({ answers: { requests: 2, failed: 1 } })
    expect(revision.report()).toMatchObject({ answers: { requests: 0, failed: 0 } })
  })

  test('a replica is emptied once its last request has ended after it was withdrawn', () => {
    const route = aRevision({ replicas: [aReplica('a'), aReplica('b')] })
    const { revision, emptied } = admission(route)
    const claim = must(revision.tryClaim())
    revision.update({ ...route, replicas: [] })
    expect(emptied).toEqual(['b'])
    claim.release()
    expect(emptied).toEqual(['b', 'a'])
  })
})

describe('slots that are shared with other routers', () => {
  const replicas = [aReplica('a'), aReplica('b')]
  const frame = { kind: 'slots', router: 'me', epoch: 1, shared: true } as const
  const granting = (number: number, a: number, b: number, keep?: number): SlotsFrame => {
    const slots = { uid: 'rev-1', replicas: [aShare('a', a), aShare('b', b)] }
    return { ...frame, number, revisions: [keep === undefined ? slots : { ...slots, keep }] }
  }
  const aShare = (id: string, slots: number) => ({ id, slots })

  /** With two slots of each of two replicas, and told so. */
  function sharing() {
    const made = admission({ concurrency: 4, replicas })
    const hear = (told: SlotsFrame) => {
      made.slots.take(
        told,
        () => [made.revision.slots],
        () => made.revision.slotsInUse,
      )
      made.revision.share()
    }
    hear({ ...frame, number: 1, revisions: [] })
    hear(granting(2, 2, 2))
    return { ...made, hear }
  }

  test('are all that there are until the leader says otherwise', () => {
    const { revision, slots } = admission({ concurrency: 4, replicas })
    const taken = Array.from({ length: 9 }, () => revision.tryClaim())
    expect(taken.filter((claim) => claim !== undefined)).toHaveLength(8)
    expect(slots.held()).toMatchObject({ epoch: 0, number: 0, shared: false, revisions: [] })
    slots.take(
      { ...frame, number: 1, revisions: [] },
      () => [revision.slots],
      () => revision.slotsInUse,
    )
    const held = { uid: 'rev-1', replicas: [aShare('a', 4), aShare('b', 4)] }
    expect(slots.held()).toMatchObject({ epoch: 1, number: 1, shared: true, revisions: [held] })
  })

  test('are no more than were granted, and more of them serve who waits', () => {
    const { revision, hear } = sharing()
    const taken = Array.from({ length: 4 }, () => revision.tryClaim())
    expect(taken.every((claim) => claim !== undefined)).toBe(true)
    expect(revision.tryClaim()).toBeUndefined()
    const next = waiting(revision)
    expect(next.claim).toBeUndefined()
    hear(granting(3, 2, 3))
    expect(next.claim?.replica.id).toBe('b')
  })

  test('go back while they are idle, and the others when their requests end', () => {
    const { revision, hear, gaveBack } = sharing()
    const claims = Array.from({ length: 3 }, () => must(revision.tryClaim()))
    hear(granting(3, 2, 2, 1))
    expect(gaveBack.at(-1)?.reduce((sum, { slots }) => sum + slots, 0)).toBe(3)
    expect(revision.tryClaim()).toBeUndefined()
    claims[0]?.release()
    claims[1]?.release()
    expect(gaveBack.at(-1)).toHaveLength(1)
    claims[2]?.release()
    expect(gaveBack.at(-1)).toHaveLength(1)
    expect(must(revision.tryClaim())).toBeDefined()
  })

  test('of a replica that others crowd go back as far as they are idle, and no others', () => {
    const { revision, hear, gaveBack } = sharing()
    const claims = Array.from({ length: 2 }, () => must(revision.tryClaim()))
    const crowded = { uid: 'rev-1', replicas: [{ ...aShare('a', 2), keep: 0 }, aShare('b', 2)] }
    hear({ ...frame, number: 3, revisions: [crowded] })
    expect(gaveBack.at(-1)).toEqual([aShare('a', 1), aShare('b', 2)])
    claims.find(({ replica }) => replica.id === 'a')?.release()
    expect(gaveBack.at(-1)).toEqual([aShare('b', 2)])
  })

  test('that a router needs itself stay with it for 50 ms', () => {
    const { revision, hear, gaveBack, clock } = sharing()
    const claims = Array.from({ length: 4 }, () => must(revision.tryClaim()))
    const [first, second] = [waiting(revision), waiting(revision)]
    hear(granting(3, 2, 2, 3))
    clock.now = 49
    claims[0]?.release()
    expect(first.claim).toBeDefined()
    expect(gaveBack).toEqual([])
    clock.now = 50
    claims[1]?.release()
    expect(second.claim).toBeUndefined()
    expect(gaveBack).toHaveLength(1)
  })

  test('that are in use stay its own, though the leader did not know of them when it spoke', () => {
    const { revision, slots } = sharing()
    const claims = Array.from({ length: 4 }, () => must(revision.tryClaim()))
    const taken = slots.take(
      granting(3, 4, 0, 4),
      () => [],
      () => revision.slotsInUse,
    )
    expect(taken).toEqual({ mustTell: true })
    expect(slots.held(['rev-1']).revisions[0]?.replicas).toEqual([aShare('a', 4), aShare('b', 2)])
    for (const claim of claims) claim.release()
  })

  test('do not change by what the leader said before its newest word', () => {
    const { revision, hear } = sharing()
    hear(granting(1, 4, 4))
    hear({ ...granting(9, 4, 4), epoch: 0 })
    expect(revision.slots.replicas).toEqual([aShare('a', 2), aShare('b', 2)])
  })
})

describe('a replica that answers 5xx', () => {
  const four = ['a', 'b', 'c', 'd'].map((id) => aReplica(id))

  /** One request after the other; those in `bad` answer 500. Returns who was asked. */
  function ask(revision: RevisionAdmission, times: number, bad: string[]): string[] {
    return Array.from({ length: times }, () => {
      const claim = must(revision.tryClaim())
      const { id } = claim.replica
      revision.succeeded(claim, bad.includes(id) ? 500 : 200)
      claim.release()
      return id
    })
  }
  /** Least in-flight takes the first of equals: with all of them busy once, everybody has a turn. */
  function askEverybody(revision: RevisionAdmission, rounds: number, bad: string[]): Set<string> {
    const asked = new Set<string>()
    for (let i = 0; i < rounds; i += 1) {
      const claims = four.map(() => must(revision.tryClaim()))
      for (const claim of claims) {
        asked.add(claim.replica.id)
        revision.succeeded(claim, bad.includes(claim.replica.id) ? 503 : 200)
        claim.release()
      }
    }
    return asked
  }

  test('while the others do not is asked no more for 10 s, then for 20 s', () => {
    const { revision, clock, failed } = admission({ replicas: four })
    askEverybody(revision, 5, ['b'])
    expect(failed).toEqual(['b ejected'])
    expect(askEverybody(revision, 5, ['b'])).toEqual(new Set(['a', 'c', 'd']))
    clock.now += 10_000
    expect(askEverybody(revision, 5, ['b'])).toContain('b')
    expect(failed).toEqual(['b ejected', 'b ejected'])
    clock.now += 19_999
    expect(askEverybody(revision, 1, [])).not.toContain('b')
    clock.now += 1
    expect(askEverybody(revision, 1, [])).toContain('b')
  })

  test('as all do is no outlier', () => {
    const { revision, failed } = admission({ replicas: four })
    askEverybody(revision, 50, ['a', 'b', 'c', 'd'])
    expect(failed).toEqual([])
  })

  test('now and then is no outlier', () => {
    const { revision, failed } = admission({ replicas: four })
    for (let i = 0; i < 20; i += 1) {
      askEverybody(revision, 4, ['b'])
      askEverybody(revision, 1, [])
    }
    expect(failed).toEqual([])
  })

  test('is still asked when half of them are ejected already', () => {
    const { revision, failed } = admission({ replicas: four })
    askEverybody(revision, 20, ['a', 'b', 'c'])
    expect(failed).toHaveLength(2)
    const alone = admission({ replicas: [aReplica('a')] })
    ask(alone.revision, 5, [])
    ask(alone.revision, 50, ['a'])
    expect(alone.failed).toEqual([])
  })
})
