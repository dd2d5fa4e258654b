import type { ReplicaId } from '@berth/contracts'
import { recordContainers } from '@berth/db'
import type { holdReplica, HoldOutcome, ReplicaHost, StartableReplica } from '../replicas/index.ts'
import type { KeeperOptions } from './replica-keeper.ts'
import type { Operations } from './replica-operations.ts'
import { startableReplica } from './startable-replica.ts'
import type { ReplicaView } from './world-model.ts'

/** `busy`: something else is being done to the replica, or it is not parked. */
export type Held = HoldOutcome | { kind: 'busy' }

/** Lets the app of a parked replica start short of its first instruction; the picture knows when it waits. */
export async function holdParked(
  options: KeeperOptions & {
    operations: Operations
    hostOf(replica: ReplicaView): ReplicaHost | null
    hold: typeof holdReplica
  },
  id: ReplicaId,
): Promise<Held> {
  const { picture, operations } = options
  const replica = picture.replicas.get(id)
  if (replica === undefined || !isParked(replica)) return { kind: 'busy' }
  // The database may be asked, which nobody who wakes the replica is to wait for.
  const startable = await startableReplica(options, replica)
  if (typeof startable === 'string') return { kind: 'unable', message: startable }
  if (startable === null || operations.of(id)) return { kind: 'busy' }

  async function hold(wanted: StartableReplica, signal: AbortSignal): Promise<Held> {
    const current = picture.replicas.get(id)
    const host = current && options.hostOf(current)
    if (!host || !isParked(current)) return { kind: 'busy' }
    const about = { ...wanted, containers: current.containers }
    const outcome = await options.hold(options.deps, host, about, { signal })
    if (outcome.kind === 'held') noteHeld(current, outcome.app)
    options.log.debug({ replica: id, node: host.name, outcome: outcome.kind }, 'app of a parked replica held')
    return outcome
  }

  function noteHeld({ containers: before }: ReplicaView, app: string): void {
    const containers = { ...before, app }
    picture.updateReplica(id, { containers, held: true })
    if (app !== before.app)
      options.writer.write(id, 'containers', (db, lease) => recordContainers(db, lease, id, containers))
  }

  return operations.run<Held>(id, 'hold', ({ calledOff }) => hold(startable, calledOff), { kind: 'busy' })
}

function isParked({ state, rung }: ReplicaView): boolean {
  return state === 'ready' && rung === 'parked'
}
