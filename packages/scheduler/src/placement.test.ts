import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { freeCpuMillis, freeMemoryBytes, type PlacementNode, type PlacementRequest } from './node.ts'
import {
  placeReplica,
  placeReplicas,
  refusalsByNode,
  type Placement,
  type PlacementPolicy,
} from './placement.ts'
import { aNode, aRequest, mebibyte } from './testing/builders.ts'

const spread: PlacementPolicy = { strategy: 'spread' }
const binpack: PlacementPolicy = { strategy: 'binpack' }

function chosen(placement: Placement): string {
  return placement.kind === 'placed' ? placement.nodeId : placement.summary
}

function refusalOf(node: Partial<PlacementNode>, request: Partial<PlacementRequest> = {}) {
  const placement = placeReplica(aRequest(request), [aNode('a', node)], spread)
  return placement.kind === 'unplaceable' ? placement.refusals : placement
}

describe('a refusal', () => {
  const full = { reserved: { memoryBytes: 3284 * mebibyte, cpuMillis: 0 } }

  test.each<[string, Partial<PlacementNode>, Partial<PlacementRequest>, string]>([
    ['pool', { pool: 'gpu' }, {}, '1 node: not in pool default'],
    ['reachability', { reachability: 'down' }, {}, '1 node: down'],
    ['scheduling', { scheduling: 'cordoned' }, {}, '1 node: cordoned'],
    ['architecture', {}, { architecture: ['arm64'] }, '1 node: image is for arm64, node is amd64'],
    [
      'nodeSelector',
      { labels: { disk: 'hdd' } },
      { nodeSelector: { disk: 'ssd' } },
      '1 node: lacks label disk=ssd',
    ],
    ['nodeSelector', {}, { nodeSelector: { toString: 'x' } }, '1 node: lacks label toString=x'],
    [
      'excluded',
      {},
      { excludedNodes: new Map([['id-a', 'image pull failed']]) },
      '1 node: image pull failed',
    ],
    [
      'volume',
      {},
      { boundTo: { nodeId: 'id-b', node: 'b', volume: 'data' } },
      '1 node: volume "data" is on b',
    ],
    ['disk', { diskFreeRatio: 0.129 }, {}, '1 node: disk 12 % free, 15 % needed'],
    ['memory', full, {}, '1 node: memory 512Mi asked, 300Mi free'],
    ['cpu', {}, { cpuMillis: 2500 }, '1 node: cpu 2500m asked, 2 free'],
  ])('by %s explains itself', (filter, node, request, message) => {
    expect(refusalOf(node, request)).toEqual([{ filter, nodes: 1, message }])
  })

  test('is counted once per node, under the first reason', () => {
    const nodes = [
      aNode('a', full),
      aNode('b', { ...full, scheduling: 'draining' }),
      aNode('c', full),
      aNode('d', { reserved: { memoryBytes: 3384 * mebibyte, cpuMillis: 0 } }),
    ]
    expect(placeReplica(aRequest(), nodes.slice(0, 3), spread)).toEqual({
      kind: 'unplaceable',
      refusals: [
        { filter: 'scheduling', nodes: 1, message: '1 node: draining' },
        { filter: 'memory', nodes: 2, message: '2 nodes: memory 512Mi asked, 300Mi free' },
      ],
      summary: 'none of 3 nodes fits: 1 node: draining; 2 nodes: memory 512Mi asked, 300Mi free',
    })
    expect(chosen(placeReplica(aRequest(), nodes, spread))).toContain(
      '3 nodes: memory 512Mi asked, at most 300Mi free',
    )
  })

  test('says so when there is no node at all', () => {
    expect(placeReplica(aRequest(), [], spread)).toEqual({
      kind: 'unplaceable',
      refusals: [],
      summary: 'no node is registered',
    })
  })

  test('is not made on what is unknown', () => {
    expect(refusalOf({ architecture: undefined })).toMatchObject({ kind: 'placed' })
    expect(refusalOf({}, { architecture: undefined })).toMatchObject({ kind: 'placed' })
  })

  test('by cpu counts with the overcommit', () => {
    expect(refusalOf({ overcommitCpu: 10 }, { cpuMillis: 2500 })).toMatchObject({ kind: 'placed' })
  })
})

test('each node that refuses says why in its own numbers, and one that fits says nothing', () => {
  const nodes = [
    aNode('full', { reserved: { memoryBytes: 3284 * mebibyte, cpuMillis: 0 } }),
    aNode('fuller', { reserved: { memoryBytes: 3384 * mebibyte, cpuMillis: 0 } }),
    aNode('free'),
    aNode('down', { reachability: 'down', scheduling: 'cordoned' }),
  ]
  expect(refusalsByNode(aRequest(), nodes).map(({ node, message }) => `${node.name}: ${message}`)).toEqual([
    'full: memory 512Mi asked, 300Mi free',
    'fuller: memory 512Mi asked, 200Mi free',
    'down: down',
  ])
})

describe('the choice', () => {
  const half = { reserved: { memoryBytes: 1792 * mebibyte, cpuMillis: 0 } }

  test.each<[string, PlacementPolicy, PlacementNode, PlacementNode]>([
    ['spread takes the emptier node', spread, aNode('z'), aNode('a', half)],
    ['binpack takes the fuller node', binpack, aNode('z', half), aNode('a')],
    ['the image decides between equals', spread, aNode('z', { hasImage: true }), aNode('a')],
    ['a frozen replica decides between equals', spread, aNode('z', { frozenReplicas: 1 }), aNode('a')],
    ['recent failures put a node behind', binpack, aNode('z'), aNode('a', { ...half, recentFailures: 4 })],
    ['a node busy with starts stands back', spread, aNode('z'), aNode('a', { startsUnderWay: 3 })],
    ['equal nodes go by name', spread, aNode('a'), aNode('b')],
    [
      'spreading beats the image and an empty node',
      spread,
      aNode('z', { ...half, recentFailures: 99, startsUnderWay: 999 }),
      aNode('a', { replicasOfService: 1, hasImage: true, frozenReplicas: 1 }),
    ],
  ])('%s', (_name, policy, better, worse) => {
    expect(chosen(placeReplica(aRequest(), [worse, better], policy))).toBe(better.id)
    expect(chosen(placeReplica(aRequest(), [better, worse], policy))).toBe(better.id)
  })

  test('puts three replicas on three nodes though one has the image', () => {
    const nodes = [aNode('a', { hasImage: true }), aNode('b'), aNode('c')]
    const placements = placeReplicas(aRequest(), 4, nodes, spread).map(chosen)
    expect(placements.slice(0, 3).sort()).toEqual(['id-a', 'id-b', 'id-c'])
    expect(placements[3]).toBe('id-a')
  })

  test('fills one node before the next when it packs', () => {
    const placements = placeReplicas(aRequest(), 8, [aNode('a'), aNode('b')], binpack).map(chosen)
    expect(placements).toEqual([...Array.from({ length: 7 }, () => 'id-a'), 'id-b'])
  })
})

test('packing keeps the smallest replicas together', () => {
  const nodes = ['a', 'b', 'c'].map((name) => aNode(name, { overcommitCpu: 10 }))
  const tiny = aRequest({ memoryBytes: 16 * mebibyte, cpuMillis: 50 })
  const placements = placeReplicas(tiny, 20, nodes, binpack).map(chosen)
  expect(new Set(placements)).toEqual(new Set(['id-a']))
})

test('a start that was just decided counts as under way for the next', () => {
  // After the first goes to a, a is a hair emptier than b, but b has nothing to start.
  const used = { memoryBytes: 600 * mebibyte, cpuMillis: 0 }
  const nodes = [aNode('a'), aNode('b', { replicasOfService: 1, reserved: used })]
  expect(placeReplicas(aRequest(), 2, nodes, spread).map(chosen)).toEqual(['id-a', 'id-b'])
})

describe('whatever the nodes', () => {
  const node = (name: string) =>
    fc
      .record({
        memory: fc.integer({ min: 0, max: 8192 }),
        cpuMillis: fc.integer({ min: 0, max: 8000 }),
        reservedMemory: fc.integer({ min: 0, max: 8192 }),
        overcommitCpu: fc.integer({ min: 1, max: 10 }),
        hasImage: fc.boolean(),
        frozenReplicas: fc.nat(3),
        replicasOfService: fc.nat(3),
        recentFailures: fc.nat(9),
        startsUnderWay: fc.nat(20),
      })
      .map(({ memory, cpuMillis, reservedMemory, ...rest }) =>
        aNode(name, {
          ...rest,
          capacity: { memoryBytes: memory * mebibyte, cpuMillis },
          reserved: { memoryBytes: reservedMemory * mebibyte, cpuMillis: 0 },
        }),
      )
  const nodes = fc.tuple(node('a'), node('b'), node('c'), node('d'))
  const request = fc
    .record({ memory: fc.integer({ min: 16, max: 2048 }), cpuMillis: fc.integer({ min: 50, max: 2000 }) })
    .map(({ memory, cpuMillis }) => aRequest({ memoryBytes: memory * mebibyte, cpuMillis }))
  const policy = fc.constantFrom(spread, binpack)

  test('no node is overbooked, and nothing is refused while a node has room', () => {
    fc.assert(
      fc.property(
        nodes,
        request,
        policy,
        fc.integer({ min: 0, max: 30 }),
        (nodes, request, policy, count) => {
          const placements = placeReplicas(request, count, nodes, policy)
          expect(placements).toHaveLength(count)
          const roomLeft = nodes.map((node) => {
            const here = placements.filter((p) => p.kind === 'placed' && p.nodeId === node.id).length
            const memory = freeMemoryBytes(node) - here * request.memoryBytes
            const cpu = freeCpuMillis(node) - here * request.cpuMillis
            if (here > 0) expect(Math.min(memory, cpu)).toBeGreaterThanOrEqual(0)
            return memory >= request.memoryBytes && cpu >= request.cpuMillis
          })
          if (placements.some((p) => p.kind === 'unplaceable')) expect(roomLeft).not.toContain(true)
        },
      ),
    )
  })

  test('the order of the nodes changes nothing', () => {
    fc.assert(
      fc.property(nodes, request, policy, (nodes, request, policy) => {
        const answer = placeReplica(request, nodes, policy)
        expect(placeReplica(request, nodes.toReversed(), policy)).toEqual(answer)
      }),
    )
  })

  test('every node is either a candidate or counted in one refusal', () => {
    fc.assert(
      fc.property(nodes, request, policy, (nodes, request, policy) => {
        const answer = placeReplica(request, nodes, policy)
        if (answer.kind === 'placed') expect(answer.scores[0]?.nodeId).toBe(answer.nodeId)
        else expect(answer.refusals.reduce((sum, refusal) => sum + refusal.nodes, 0)).toBe(nodes.length)
      }),
    )
  })

  test('spread takes a node with the fewest replicas of the service among those that fit', () => {
    fc.assert(
      fc.property(nodes, request, (nodes, request) => {
        const answer = placeReplica(request, nodes, spread)
        if (answer.kind !== 'placed') return
        const fitting = nodes.filter(({ id }) => answer.scores.some(({ nodeId }) => nodeId === id))
        const fewest = Math.min(...fitting.map(({ replicasOfService }) => replicasOfService))
        expect(fitting.find(({ id }) => id === answer.nodeId)?.replicasOfService).toBe(fewest)
      }),
    )
  })
})
