import type { NodeUid, ReplicaId } from '@berth/contracts'
import { removeReplica } from '@berth/db'
import type { Keeper } from './replica-keeper.ts'
import type { RowWriter } from './row-writer.ts'
import type { ReplicaView } from './world-model.ts'
import type { Picture } from './world.ts'

/** How long the row of a failed replica is kept for its reason. */
const keptMs = 10 * 60_000
/**
 * A node that is down for so long loses its replicas to the others; an engine's quick restart does not. One that was
 * still starting serves nobody and has not got far: another one starts elsewhere at once.
 */
const lostAfterMs = { starting: 0, other: 5_000 }
/** The same where nothing could take over: no other node answers, or rescheduling is on hold. */
const surelyLostAfterMs = 5 * 60_000

/**
 * Clears up after failed replicas, and gives those up whose node is down: rows of replicas that serve nobody would
 * otherwise count as ready. What is left of them is removed when the node comes back.
 */
export function createFailedReplicas(options: {
  picture: Picture
  keeper: Pick<Keeper, 'clear' | 'fail' | 'busyWith'>
  writer: RowWriter
  /** Why nothing is rescheduled now; null normally. */
  held(): string | null
  now: () => number
}): { tick(): void } {
  const { picture, keeper, writer, now } = options
  const failed = new Map<ReplicaId, { since: number; cleared: boolean }>()
  const downSince = new Map<NodeUid, number>()

  function tendFailed({ id, nodeUid }: ReplicaView): void {
    const known = failed.get(id) ?? { since: now(), cleared: false }
    failed.set(id, known)
    if (!known.cleared && !keeper.busyWith(id))
      void keeper.clear(id).then((cleared) => {
        known.cleared ||= cleared
      })
    // A node that is drained is to become empty, and may be deleted then.
    const isDrained = picture.nodes.get(nodeUid)?.scheduling === 'draining'
    if (now() - known.since < keptMs && !(isDrained && known.cleared)) return
    writer.write(id, 'forgotten', (db, lease) => removeReplica(db, lease, id))
    picture.removeReplica(id)
  }

  function isLost({ nodeUid, state }: ReplicaView): boolean {
    const since = downSince.get(nodeUid)
    if (since === undefined) return false
    const othersAnswer = [...picture.nodes.values()].some(({ reachability }) => reachability === 'ready')
    const soonMs = state === 'starting' ? lostAfterMs.starting : lostAfterMs.other
    const limitMs = othersAnswer && options.held() === null ? soonMs : surelyLostAfterMs
    return now() - since >= limitMs
  }

  return {
    tick() {
      for (const { uid, reachability } of picture.nodes.values())
        if (reachability === 'ready') downSince.delete(uid)
        else if (!downSince.has(uid)) downSince.set(uid, now())
      for (const replica of picture.replicas.values()) {
        if (replica.state === 'failed') tendFailed(replica)
        else if (isLost(replica))
          keeper.fail(replica.id, { reason: 'NodeLost', message: 'its node does not answer' })
      }
      for (const id of failed.keys()) if (!picture.replicas.has(id)) failed.delete(id)
      for (const uid of downSince.keys()) if (!picture.nodes.has(uid)) downSince.delete(uid)
    },
  }
}
