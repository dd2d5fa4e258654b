import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { fairShares, shareSlots, type SharedRevision, type SlotHolder } from './slots.ts'

function holder(router: string, need: number, granted: Record<string, number>): SlotHolder {
  return { router, need, granted: new Map(Object.entries(granted)) }
}

function shares(changes: Partial<SharedRevision> & Pick<SharedRevision, 'holders'>) {
  const revision = { concurrency: 1, replicas: ['r1', 'r2'], charged: new Map<string, number>(), ...changes }
  return shareSlots(revision).map(({ granted, keep }) => [Object.fromEntries(granted), keep])
}

describe('shares of slots', () => {
  test('give everyone what it needs, and what is left over in equal parts', () => {
    expect(fairShares(10, [1, 3], [10, 0])).toEqual([4, 6])
    expect(fairShares(11, [1, 3], [0, 11])).toEqual([4, 7])
  })

  test('are level where slots are short, the odd one for who holds less', () => {
    expect(fairShares(10, [1, 7, 9], [0, 9, 1])).toEqual([1, 4, 5])
    expect(fairShares(1, [5, 5], [1, 0])).toEqual([0, 1])
  })

  test('add up to all slots, and leave nobody below an equal part of what it needs', () => {
    const counts = fc.array(fc.tuple(fc.nat(50), fc.nat(50)), { minLength: 1, maxLength: 5 })
    fc.assert(
      fc.property(fc.nat(100), counts, (slots, routers) => {
        const needs = routers.map(([need]) => need)
        const given = fairShares(
          slots,
          needs,
          routers.map(([, hold]) => hold),
        )
        expect(given.reduce((sum, share) => sum + share, 0)).toBe(slots)
        const level = Math.floor(slots / routers.length)
        for (const [index, share] of given.entries())
          expect(share).toBeGreaterThanOrEqual(Math.min(needs[index] ?? 0, level))
      }),
    )
  })
})

describe('sharing a revision', () => {
  test('hands out free slots at once', () => {
    expect(shares({ holders: [holder('a', 1, { r1: 1 }), holder('b', 1, {})] })).toEqual([
      [{ r1: 1 }, null],
      [{ r2: 1 }, null],
    ])
  })

  test('asks who has more than its share while another lacks what it needs, and nobody otherwise', () => {
    const all = { r1: 1, r2: 1 }
    expect(shares({ holders: [holder('a', 0, all), holder('b', 0, {})] })).toEqual([
      [all, null],
      [{}, null],
    ])
    expect(shares({ holders: [holder('a', 9, all), holder('b', 1, {})] })).toEqual([
      [all, 1],
      [{}, null],
    ])
  })

  test('grants nothing of what a router that is gone may still use', () => {
    expect(shares({ charged: new Map([['r1', 1]]), holders: [holder('a', 2, {})] })).toEqual([
      [{ r2: 1 }, null],
    ])
  })

  test('has a replica cleared that two routers use in full, and shares the others as ever', () => {
    const holders = [holder('a', 1, { r1: 1 }), holder('b', 9, { r1: 1 })]
    expect(shares({ holders })).toEqual([
      [{ r1: 1 }, null],
      [{ r1: 1, r2: 1 }, null],
    ])
    const clear = shareSlots({ concurrency: 1, replicas: ['r1', 'r2'], charged: new Map(), holders })
    expect(clear.map((share) => share.clear)).toEqual([['r1'], ['r1']])
  })

  test('leaves a router that is stopping what it needs, and gives the rest to those that stay', () => {
    const stopping = { ...holder('a', 1, { r1: 3, r2: 3 }), isStopping: true }
    expect(shares({ concurrency: 3, holders: [stopping, holder('b', 0, {})] })).toEqual([
      [{ r1: 3, r2: 3 }, 1],
      [{}, null],
    ])
    const left = { ...stopping, granted: new Map([['r1', 1]]) }
    expect(shares({ concurrency: 3, holders: [left, holder('b', 0, {})] })).toEqual([
      [{ r1: 1 }, null],
      [{ r1: 2, r2: 3 }, null],
    ])
  })

  test('never has more slots out than there are, and leaves none idle in nobody’s hands', () => {
    const replicas = ['r1', 'r2', 'r3']
    const parts = fc.array(fc.nat(4), { minLength: 3, maxLength: 3 })
    const router = fc.record({ need: fc.nat(20), parts })
    const routers = fc.array(router, { minLength: 1, maxLength: 4 })
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 12 }), routers, parts, (concurrency, drawn, charges) => {
        const left = new Map(replicas.map((id) => [id, concurrency]))
        const draw = (id: string, wish: number) => {
          const taken = Math.min(wish, left.get(id) ?? 0)
          left.set(id, (left.get(id) ?? 0) - taken)
          return taken
        }
        const drawAll = (wishes: readonly number[]) =>
          new Map(replicas.map((id, index) => [id, draw(id, wishes[index] ?? 0)]))
        const charged = drawAll(charges)
        const holders = drawn.map(({ need, parts }, index) => {
          return { router: String(index), need, granted: drawAll(parts) }
        })
        const result = shareSlots({ concurrency, replicas, charged, holders })
        for (const id of replicas) {
          const out = result.reduce((sum, { granted }) => sum + (granted.get(id) ?? 0), charged.get(id) ?? 0)
          expect(out).toBeLessThanOrEqual(concurrency)
        }
        const asked = result.some(({ keep }) => keep !== null)
        const out = result.flatMap(({ granted }) => [...granted.values()]).reduce((a, b) => a + b, 0)
        const all = replicas.reduce((sum, id) => sum + concurrency - (charged.get(id) ?? 0), 0)
        if (!asked) expect(out).toBe(all)
        for (const [index, { granted }] of result.entries())
          for (const id of replicas)
            expect(granted.get(id) ?? 0).toBeGreaterThanOrEqual(holders[index]?.granted.get(id) ?? 0)
      }),
    )
  })
})
