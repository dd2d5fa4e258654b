import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { freeMemoryBytes } from './node.ts'
import { findMisfits, type Movers } from './relocation.ts'
import { aNode, aRequest, mebibyte } from './testing/builders.ts'

const movers = (count: number, memoryMebibytes = 512, changes: Partial<Movers['request']> = {}): Movers => ({
  request: aRequest({ memoryBytes: memoryMebibytes * mebibyte, ...changes }),
  count,
  strategy: 'spread',
})

/** A node with so much memory left. */
const roomy = (name: string, freeMebibytes: number) =>
  aNode(name, { reserved: { memoryBytes: (3584 - freeMebibytes) * mebibyte, cpuMillis: 0 } })

describe('what moves', () => {
  test('fits where all of it finds room together', () => {
    expect(findMisfits([movers(2), movers(1, 1024)], [roomy('n2', 1024), roomy('n3', 1024)])).toEqual([])
  })

  test('does not fit one by one into the same room', () => {
    const misfits = findMisfits([movers(2), movers(2, 256)], [roomy('n2', 1024)])
    expect(misfits.map(({ count, missing }) => ({ count, missing }))).toEqual([
      { count: 2, missing: 'memory 256Mi asked, largest free 0 on n2' },
    ])
  })

  test('names the node with the most room of those that would do', () => {
    const nodes = [roomy('n2', 300), roomy('n3', 200), aNode('n4', { reachability: 'down' })]
    expect(findMisfits([movers(3)], nodes)).toMatchObject([
      { count: 3, missing: 'memory 512Mi asked, largest free 300Mi on n2' },
    ])
  })

  test('is told of cores too', () => {
    expect(findMisfits([movers(1, 512, { cpuMillis: 2500 })], [aNode('n2')])).toMatchObject([
      { missing: 'cpu 2500m asked, largest free 2 on n2' },
    ])
  })

  test('that no node would do for gets the counted refusals', () => {
    const nodes = [aNode('n2', { reachability: 'down' })]
    expect(findMisfits([movers(1, 512, { nodeSelector: { zone: 'c' } })], nodes)).toMatchObject([
      { missing: 'none of 1 node fits: 1 node: down' },
    ])
    expect(findMisfits([movers(1)], [])).toMatchObject([{ missing: 'no node is registered' }])
  })

  test('and would fit always has the room for it', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 2048 }), { minLength: 1, maxLength: 4 }),
        fc.array(
          fc.record({ count: fc.integer({ min: 1, max: 4 }), size: fc.integer({ min: 16, max: 1024 }) }),
        ),
        (rooms, wanted) => {
          const nodes = rooms.map((free, index) => roomy(`n${index}`, free))
          const free = nodes.reduce((sum, node) => sum + freeMemoryBytes(node), 0)
          const asked = wanted.reduce((sum, { count, size }) => sum + count * size * mebibyte, 0)
          const misfits = findMisfits(
            wanted.map(({ count, size }) => movers(count, size, { cpuMillis: 1 })),
            nodes,
          )
          if (asked > free) expect(misfits).not.toEqual([])
          for (const { movers: each, count } of misfits) expect(count).toBeLessThanOrEqual(each.count)
        },
      ),
    )
  })
})
