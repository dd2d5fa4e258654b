import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { SlotWorld, type SlotRouter } from './testing/slot-world.ts'

const ofRouter = [
  'ask',
  'ask',
  'end',
  'hear',
  'hear',
  'tell',
  'tell',
  'report',
  'greetLate',
  'tellLate',
  'cut',
  'stop',
  'kill',
  'leave',
] as const
const ofAll = ['start', 'pass', 'elect', 'settle'] as const
const aStepOfAll = fc.record({ what: fc.constantFrom(...ofAll), ms: fc.nat(20_000) })
const aStepOf = <What extends string>(what: readonly What[]) =>
  fc.record({ what: fc.constantFrom(...what), nth: fc.nat(3), first: fc.boolean() })
const step = fc.oneof({ weight: 6, arbitrary: aStepOf(ofRouter) }, { weight: 1, arbitrary: aStepOfAll })
/** Also routers that start while no leader answers, so that several count alone at the same time. */
const anyStep = fc.oneof(
  { weight: 6, arbitrary: aStepOf([...ofRouter, 'giveUpWaiting'] as const) },
  { weight: 1, arbitrary: aStepOfAll },
)
type Step = typeof anyStep extends fc.Arbitrary<infer Value> ? Value : never

function doStep(world: SlotWorld, step: Step): void {
  if ('ms' in step) {
    if (step.what === 'pass') world.pass(step.ms)
    else if (step.what !== 'start' || world.routers.length < 4) world[step.what]()
    return
  }
  const router = world.routers[step.nth % Math.max(1, world.routers.length)]
  if (!router) return
  if (step.what === 'end') router.end(world.replicas[step.first ? 0 : 1] ?? '')
  else if (step.what === 'leave') finish(world, router)
  else if (isOfWorld(step.what)) world[step.what](router)
  else router[step.what]()
}

const ofWorld = ['tell', 'tellLate', 'cut', 'kill'] as const
function isOfWorld(what: string): what is (typeof ofWorld)[number] {
  return ofWorld.some((each) => each === what)
}

function finish(world: SlotWorld, router: SlotRouter): void {
  for (const id of world.replicas) while ((router.inFlight.get(id) ?? 0) > 0) router.end(id)
  world.leave(router)
}

/** A world with so many routers that have heard all there is to hear. */
function aWorld(concurrency: number, routers: number): SlotWorld {
  const world = new SlotWorld(concurrency)
  for (let nth = 0; nth < routers; nth += 1) {
    world.start()
    world.settle()
  }
  return world
}

/** How many requests the router can have in flight once everybody has heard what it needs. */
function fill(world: SlotWorld, router: SlotRouter): number {
  let begun = 0
  for (let round = 0; round < 100; round += 1) {
    while (router.ask()) begun += 1
    world.settle()
    world.pass(60)
  }
  return begun
}

describe('the ledger of slots', () => {
  test('never lets a replica have more than its concurrency, whoever comes, goes, dies or leads', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(1, 2, 3, 5),
        fc.array(step, { minLength: 20, maxLength: 200, size: 'max' }),
        (concurrency, steps) => {
          const world = aWorld(concurrency, 2)
          for (const each of steps) {
            doStep(world, each)
            for (const id of world.replicas) expect(world.inFlight(id)).toBeLessThanOrEqual(concurrency)
          }
        },
      ),
      { numRuns: 1500 },
    )
  }, 60_000)

  test('has every slot in use again when all is over, wherever the requests come in', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(1, 2, 5),
        fc.array(step, { minLength: 20, maxLength: 100, size: 'max' }),
        (concurrency, steps) => {
          const world = aWorld(concurrency, 2)
          for (const each of steps) doStep(world, each)
          world.start()
          for (const router of world.routers) {
            for (const id of world.replicas) while ((router.inFlight.get(id) ?? 0) > 0) router.end(id)
            router.report()
          }
          world.settle()
          world.pass(60_000)
          const last = world.routers.at(-1)
          expect(last && fill(world, last)).toBe(concurrency * world.replicas.length)
        },
      ),
      { numRuns: 300 },
    )
  }, 60_000)

  test('gives a router that needs them all slots that nobody uses, whoever counted alone and whatever comes late', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(1, 2, 5),
        fc.array(anyStep, { minLength: 20, maxLength: 100, size: 'max' }),
        (concurrency, steps) => {
          const world = aWorld(concurrency, 2)
          for (const each of steps) doStep(world, each)
          world.start()
          world.settle()
          for (const router of world.routers) {
            while (router.late.length > 0) world.tellLate(router)
            router.report()
          }
          world.settle()
          world.pass(60_000)
          const last = world.routers.at(-1)
          if (last) fill(world, last)
          for (const id of world.replicas) expect(world.inFlight(id)).toBeGreaterThanOrEqual(concurrency)
        },
      ),
      { numRuns: 1000 },
    )
  }, 60_000)

  test('believes no hello of a time when the router counted alone that comes late over the other way', () => {
    const world = new SlotWorld(5)
    world.start()
    world.settle()
    const [old] = world.routers
    old?.greetLate()
    world.start()
    world.settle()
    if (old) world.tellLate(old)
    const fresh = world.routers.at(-1)
    expect(fresh && fill(world, fresh)).toBe(10)
  })

  test('believes the newest word of what was given back, in whatever order they come', () => {
    const world = aWorld(5, 2)
    const [old, fresh] = world.routers
    for (let nth = 0; nth < 3; nth += 1) old?.ask()
    old?.report()
    world.settle()
    for (let nth = 0; nth < 7; nth += 1) old?.ask()
    fresh?.ask()
    world.settle()
    for (let nth = 0; nth < 4; nth += 1) old?.end('r1')
    old?.toLeader.reverse()
    world.settle()
    // Six in use and one that waits, and the three that are left in equal parts.
    expect(world.replicas.map((id) => [old?.limit(id), fresh?.limit(id)])).toEqual([
      [3, 2],
      [5, 0],
    ])
  })

  test('leaves a router that is stopping what it uses, before anybody asks', () => {
    const world = aWorld(5, 2)
    const [old, fresh] = world.routers
    old?.ask()
    old?.stop()
    world.settle()
    const held = (router: SlotRouter | undefined) =>
      world.replicas.reduce((sum, id) => sum + (router?.limit(id) ?? 0), 0)
    expect([held(old), held(fresh)]).toEqual([1, 9])
    if (old) finish(world, old)
    world.settle()
    expect(held(fresh)).toBe(10)
  })

  test('says nothing more to the only router than that it is alone', () => {
    const world = new SlotWorld(1)
    world.start()
    const [router] = world.routers
    if (router) world.tell(router)
    expect(router?.fromLeader).toMatchObject([{ shared: false, revisions: [] }])
    world.settle()
    expect(router && fill(world, router)).toBe(2)
    expect(router?.fromLeader).toEqual([])
  })

  test('keeps the slots of a router that was killed from all others until its requests are over', () => {
    const world = aWorld(1, 2)
    const [first, second] = world.routers
    first?.ask()
    first?.report()
    world.settle()
    first?.ask()
    if (first) world.kill(first)
    expect(second && fill(world, second)).toBe(1)
    world.pass(60_000)
    expect(second && fill(world, second)).toBe(1)
  })

  test('gives two routers that are both busy about the same', () => {
    const world = aWorld(3, 2)
    const used = world.routers.map(() => 0)
    for (let round = 0; round < 40; round += 1) {
      for (const [index, router] of world.routers.entries()) {
        while (router.ask()) used[index] = (used[index] ?? 0) + 1
        const replica = world.replicas.find((id) => (router.inFlight.get(id) ?? 0) > 0)
        if (replica !== undefined) router.end(replica)
      }
      world.settle()
    }
    expect(Math.min(...used)).toBeGreaterThan(Math.max(...used) / 2)
  })
})
