import type { NodeUid, ReplicaId } from '@berth/contracts'
import { describe, expect, test } from 'vitest'
import { fitsElsewhere, placeInPicture } from './place-in-picture.ts'
import { aNode, aReplica, aRevision, aService, aWorld } from './testing/picture.ts'
import type { ReplicaView, ServiceView } from './world-model.ts'

const first = aNode()
const second = aNode({ uid: 'nod-2' as NodeUid, name: 'n2' })
const minuteMs = 60_000
const now = 100 * minuteMs
const facts = { hasImage: () => true, reserves: ({ state }: ReplicaView) => state !== 'failed', now }

function failedOn(node: NodeUid, minutesAgo: number): ReplicaView {
  const failedAt = new Date(now - minutesAgo * minuteMs)
  return aReplica({ id: `rep-${node}` as ReplicaId, nodeUid: node, state: 'failed', failedAt })
}

describe('a node where the revision failed', () => {
  test('is not taken within ten minutes of that, however long the replica had run', () => {
    const world = aWorld({ nodes: [first, second], replicas: [failedOn(first.uid, 9)] })
    expect(placeInPicture(world, aRevision(), facts)).toMatchObject({ nodeId: second.uid })
  })

  test('is taken again after ten minutes', () => {
    const world = aWorld({ nodes: [first, second], replicas: [failedOn(first.uid, 11)] })
    expect(placeInPicture(world, aRevision(), facts)).toMatchObject({ nodeId: first.uid })
  })

  test('is taken where no other one fits', () => {
    const world = aWorld({ nodes: [first], replicas: [failedOn(first.uid, 1)] })
    expect(placeInPicture(world, aRevision(), facts)).toMatchObject({ nodeId: first.uid })
  })
})

describe('a replica that ends again and again', () => {
  const fits = (nodes: (typeof first)[], replicas: ReplicaView[] = []) =>
    fitsElsewhere(aWorld({ nodes, replicas }), aRevision(), facts, first.uid)

  test('fits elsewhere where another node has place', () => {
    expect(fits([first, second])).toBe(true)
  })

  test('stays with its volume', () => {
    const revision = aRevision()
    const volumes = [{ name: 'data', mountPath: '/data' }]
    const containers = revision.template.containers.map((container) => ({ ...container, volumes }))
    const mounting = { ...revision, template: { ...revision.template, containers } }
    const volume = { uid: 'vol-1', name: 'data', nodeUid: first.uid, made: true }
    const services = [aService({ volumes: [volume] as ServiceView['volumes'] })]
    const world = aWorld({ services, nodes: [first, second] })
    expect(fitsElsewhere(world, mounting, facts, first.uid)).toBe(false)
  })

  test.each<[string, (typeof first)[], ReplicaView[]]>([
    ['there is no other node', [first], []],
    ['the other one is cordoned', [first, { ...second, scheduling: 'cordoned' }], []],
    ['the other one is full', [first, { ...second, memoryBytes: 0 }], []],
    ['its revision failed on the other one', [first, second], [failedOn(second.uid, 1)]],
  ])('stays where it is where %s', (_what, nodes, replicas) => {
    expect(fits(nodes, replicas)).toBe(false)
  })
})
