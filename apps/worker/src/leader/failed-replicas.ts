import type { NodeUid, ReplicaId } from '@berth/contracts'
import { removeReplica } from '@berth/db'
import type { Keeper } from './replica-keeper.ts'
import type { RowWriter } from './row-writer.ts'
import type { Picture } from './world.ts'

/** How long the row of a failed replica is kept for its reason. */
const keptMs = 10 * 60_000
/** After this a node that is down does not come back with what it had: its replicas count as lost. */
const lostAfterMs = 5 * 60_000

/** Clears up after failed replicas, and gives those up whose node has been away for long. */
export function createFailedReplicas(options: {
  picture: Picture
  keeper: Pick<Keeper, 'clear' | 'fail' | 'busyWith'>
  writer: RowWriter
  now: () => number
}): { tick(): void } {
  const { picture, keeper, writer, now } = options
  const failed = new Map<ReplicaId, { since: number; cleared: boolean }>()
  const downSince = new Map<NodeUid, number>()

  function tendFailed(id: ReplicaId): void {
    const known = failed.get(id) ?? { since: now(), cleared: false }
    failed.set(id, known)
    if (!known.cleared && !keeper.busyWith(id))
      void keeper.clear(id).then((cleared) => {
        known.cleared ||= cleared
      })
    if (now() - known.since < keptMs) return
    writer.write(id, 'forgotten', (db, lease) => removeReplica(db, lease, id))
    picture.removeReplica(id)
  }

  return {
    tick() {
      for (const { uid, reachability } of picture.nodes.values())
        if (reachability === 'ready') downSince.delete(uid)
        else if (!downSince.has(uid)) downSince.set(uid, now())
      for (const replica of picture.replicas.values()) {
        const since = downSince.get(replica.nodeUid)
        if (replica.state === 'failed') tendFailed(replica.id)
        else if (since !== undefined && now() - since > lostAfterMs && !keeper.busyWith(replica.id))
          keeper.fail(replica.id, {
            reason: 'NodeLost',
            message: 'its node has not answered for five minutes',
          })
      }
      for (const id of failed.keys()) if (!picture.replicas.has(id)) failed.delete(id)
      for (const uid of downSince.keys()) if (!picture.nodes.has(uid)) downSince.delete(uid)
    },
  }
}
