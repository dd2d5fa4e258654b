import type { Environment, NodeUid, ReplicaId, RevisionUid } from '@berth/contracts'
import { markReplicaDraining, recordContainers, setReplicaRung } from '@berth/db'
import type { ContainerRuntime, ContainerSummary } from '@berth/engine'
import type { Logger } from 'pino'
import {
  appName,
  inspectReplica,
  rememberAddresses,
  type ReplicaHost,
  type ReplicaSight,
} from '../replicas/index.ts'
import type { AppRestarts } from './app-restarts.ts'
import type { Engines } from './engines.ts'
import { pause } from './pause.ts'
import type { RoutePublisher } from './ports.ts'
import type { Keeper } from './replica-keeper.ts'
import type { RowWriter } from './row-writer.ts'
import type { NodeView, ReplicaView } from './world-model.ts'
import type { Picture } from './world.ts'

/*
 * Compares what runs on the nodes with the picture: one list call per node every two seconds, at once after an event
 * of the engine. What differs is looked at closely before anything is done about it.
 */

export type ReplicaWatchOptions = {
  installation: string
  picture: Picture
  keeper: Pick<Keeper, 'busyWith' | 'wake' | 'fail'>
  restarts: Pick<AppRestarts, 'ended'>
  publisher: Pick<RoutePublisher, 'publish'>
  writer: RowWriter
  engines: Pick<Engines, 'host'>
  /** What a node that was asked at `askedAt` (as `performance.now()`) holds of this installation. */
  onListed(node: NodeUid, containers: readonly ContainerSummary[], askedAt: number): void
  /** Null when the revision is gone; rejects while the database is away. */
  environmentOf(revision: RevisionUid): Promise<Environment | null>
  /** Whether the lease is renewed: else nothing is corrected that would stop something. */
  isFresh: () => boolean
  log: Logger
}

export type ReplicaWatch = {
  /** Lists one node and corrects what differs; never throws. False when the node did not answer. */
  look(node: NodeUid): Promise<boolean>
  /** Looks at every node that is ready, and waits for none: one that takes long to answer delays nobody else. */
  lookAround(): void
  /** Follows the engine's events until the signal aborts, and looks after each that concerns us. */
  follow(node: NodeUid, runtime: ContainerRuntime, signal: AbortSignal): Promise<void>
}

const eventActions = new Set(['die', 'oom', 'pause', 'unpause', 'destroy', 'stop', 'kill'])
const reopenMs = 1_000

export function createReplicaWatch(options: ReplicaWatchOptions): ReplicaWatch {
  const { installation, picture, keeper, publisher, writer, engines, log } = options
  const looking = new Map<NodeUid, { again: boolean; done: Promise<boolean> }>()

  async function lookNow(uid: NodeUid): Promise<boolean> {
    const node = picture.nodes.get(uid)
    const host = node === undefined ? null : engines.host(node)
    if (node === undefined || host === null) return false
    const steady = onNode(node).filter(({ id, state }) => state === 'ready' && !keeper.busyWith(id))
    let containers: ContainerSummary[]
    const askedAt = performance.now()
    try {
      containers = await host.runtime.list({ installation })
    } catch (error) {
      log.debug({ err: error, node: node.name }, 'node could not be listed')
      return false
    }
    rememberAddresses(host.runtime, containers)
    options.onListed(uid, containers, askedAt)
    const byName = new Map(containers.map((container) => [container.name, container]))
    const ids = new Map(containers.map((container) => [container.id, container]))
    for (const replica of steady) followApp(replica, byName.get(appName(installation, replica.id)))
    await Promise.all(
      steady
        .flatMap(({ id }) => picture.replicas.get(id) ?? [])
        .filter((replica) => !asExpected(replica, byName, ids))
        .map((replica) => correct(replica.id, host).catch((error: unknown) => note(error, replica.id))),
    )
    return true
  }

  function note(error: unknown, replica: ReplicaId): void {
    log.warn({ err: error, replica }, 'replica could not be looked at')
  }

  function onNode(node: NodeView): ReplicaView[] {
    return [...picture.replicas.values()].filter(({ nodeUid }) => nodeUid === node.uid)
  }

  /** The name says which container is the app: another may have taken its place, and nobody was left to write it down. */
  function followApp({ id, containers }: ReplicaView, app: ContainerSummary | undefined): void {
    if (app === undefined || app.id === containers.app || containers.app === undefined) return
    // They have changed places since the list was asked for.
    if (keeper.busyWith(id) || picture.replicas.get(id)?.containers.app !== containers.app) return
    const present = { ...containers, app: app.id }
    picture.updateReplica(id, { containers: present })
    writer.write(id, 'containers', (db, lease) => recordContainers(db, lease, id, present))
  }

  function asExpected(
    replica: ReplicaView,
    byName: ReadonlyMap<string, ContainerSummary>,
    ids: ReadonlyMap<string, ContainerSummary>,
  ): boolean {
    const app = byName.get(appName(installation, replica.id))
    const sandbox = replica.containers.sandbox === undefined ? undefined : ids.get(replica.containers.sandbox)
    if (sandbox?.state !== 'running' || app === undefined) return false
    if (replica.rung === 'running') return replica.serving && app.state === 'running'
    if (replica.rung === 'frozen') return app.state === 'paused'
    return replica.held ? app.state === 'running' : app.state === 'exited' || app.state === 'created'
  }

  async function correct(id: ReplicaId, host: ReplicaHost): Promise<void> {
    const before = picture.replicas.get(id)
    const revision = before && picture.revisions.get(before.revisionUid)
    if (before === undefined || revision === undefined || keeper.busyWith(id)) return
    const placed = { id, containers: before.containers, template: revision.template }
    const sight = await inspectReplica(installation, host, placed, {
      wasParked: before.rung === 'parked',
      environment: () => options.environmentOf(revision.uid).catch(() => null),
    })
    const replica = picture.replicas.get(id)
    // Something has been done to it meanwhile: the next round compares again.
    if (replica === undefined || replica.state !== 'ready' || keeper.busyWith(id)) return
    if (replica.rung !== before.rung || replica.serving !== before.serving) return
    settle(replica, sight, host)
  }

  function settle(replica: ReplicaView, sight: ReplicaSight, host: ReplicaHost): void {
    const { id, rung } = replica
    if (sight.kind === 'running') {
      if (rung !== 'running') writeRung(id)
      show(replica, { rung: 'running', serving: isReachable(replica), held: false })
    } else if (sight.kind === 'frozen') {
      if (rung !== 'running') return
      // Paused by somebody else: undone at once.
      log.warn({ replica: id }, 'replica was paused by somebody else')
      show(replica, { rung: 'frozen', serving: false })
      void keeper.wake(id)
    } else if (sight.kind === 'held') {
      if (rung === 'parked') return picture.updateReplica(id, { held: true })
      // Whoever woke it has ended before the app was let go.
      show(replica, { rung: 'parked', serving: false, held: true })
      void keeper.wake(id)
    } else if (rung !== 'running') {
      if (sight.kind === 'parked') return picture.updateReplica(id, { held: false })
      // Nobody was using it, so nothing is lost but the faster wake.
      makeCold(replica)
    } else if (sight.kind === 'exited' || sight.kind === 'parked') {
      const why =
        sight.kind === 'exited'
          ? { reason: sight.reason, message: sight.message }
          : ({ reason: 'AppCrashed', message: 'the app is not running' } as const)
      options.restarts.ended(replica, why)
    } else {
      const message = `the replica's containers are gone from node "${host.name}"`
      keeper.fail(id, { reason: 'EngineError', message })
    }
  }

  function isReachable(replica: ReplicaView): boolean {
    return picture.nodes.get(replica.nodeUid)?.reachability === 'ready'
  }

  function show(replica: ReplicaView, change: Partial<ReplicaView>): void {
    picture.updateReplica(replica.id, change)
    publisher.publish([replica.serviceUid])
  }

  function writeRung(id: ReplicaId): void {
    writer.write(id, 'rung', (db, lease) => setReplicaRung(db, lease, id, 'running'))
  }

  function makeCold(replica: ReplicaView): void {
    if (!options.isFresh()) return
    show(replica, { state: 'draining', serving: false })
    writer.write(replica.id, 'cold', (db, lease) => markReplicaDraining(db, lease, replica.id))
  }

  const watch: ReplicaWatch = {
    async look(node) {
      const known = looking.get(node)
      if (known !== undefined) {
        known.again = true
        return known.done
      }
      const entry = { again: false, done: Promise.resolve(false) }
      looking.set(node, entry)
      entry.done = (async () => {
        let answered
        do {
          entry.again = false
          answered = await lookNow(node)
        } while (entry.again && answered)
        looking.delete(node)
        return answered
      })()
      return entry.done
    },

    lookAround() {
      for (const { uid, reachability } of picture.nodes.values())
        if (reachability === 'ready' && !looking.has(uid)) void watch.look(uid)
    },

    async follow(node, runtime, signal) {
      let since = Date.now()
      while (!signal.aborted) {
        try {
          for await (const event of runtime.events(since, signal)) {
            since = Math.max(since, event.at)
            if (event.type !== 'container' || !eventActions.has(event.action)) continue
            if (event.labels['berth.installation'] === installation) void watch.look(node)
          }
        } catch (error) {
          log.debug({ err: error, node }, 'event stream of an engine broke')
        }
        await pause(reopenMs, signal)
        void watch.look(node)
      }
    },
  }
  return watch
}
