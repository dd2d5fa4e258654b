import type { NodeUid, ReplicaId } from '@berth/contracts'
import { expect, test } from 'vitest'
import { adoptRunning } from './adopt-running.ts'
import { aNode, aReplica, aWorld } from './testing/picture.ts'

const other = aNode({ uid: 'nod-2' as NodeUid, name: 'n2' })

function picture() {
  return aWorld({
    nodes: [aNode(), other],
    replicas: [
      aReplica({ id: 'seen' as ReplicaId, serving: false }),
      aReplica({ id: 'unseen' as ReplicaId, nodeUid: other.uid, serving: false }),
      aReplica({ id: 'frozen' as ReplicaId, nodeUid: other.uid, rung: 'frozen', serving: false }),
      aReplica({ id: 'leaving' as ReplicaId, nodeUid: other.uid, state: 'draining', serving: false }),
    ],
  })
}

const serving = (world: ReturnType<typeof picture>) =>
  [...world.replicas.values()].filter((replica) => replica.serving).map(({ id }) => id)

test('what runs by its rows on a node that does not answer is routed', async () => {
  const world = picture()
  await adoptRunning({ picture: world, look: ({ uid }) => Promise.resolve(uid !== other.uid) })
  expect(serving(world)).toEqual(['unseen'])
})

test('a node that hangs holds nobody up, and is taken for one that does not answer', async () => {
  const world = picture()
  const look = ({ uid }: { uid: string }) =>
    uid === other.uid ? new Promise<boolean>(() => undefined) : Promise.resolve(true)
  await adoptRunning({ picture: world, look, lookMs: 5 })
  expect(serving(world)).toEqual(['unseen'])
})

test('nothing is routed on a node that was down before', async () => {
  const world = picture()
  world.put({ nodes: [{ ...other, reachability: 'down' }] })
  await adoptRunning({ picture: world, look: () => Promise.resolve(true) })
  expect(serving(world)).toEqual([])
})
