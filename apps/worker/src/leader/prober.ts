import type { NodeUid, ProbeTemplate, ReplicaId } from '@berth/contracts'
import { newProbeRun, noteProbeResult, type ProbeRun } from '@berth/scheduler'
import type { ProbeResult } from '../replicas/index.ts'
import type { World } from './ports.ts'
import type { Keeper } from './replica-keeper.ts'
import type { ReplicaView } from './world-model.ts'

/*
 * Asks the probes of every replica that runs and serves, each once per period.
 *
 * watched     from the first tick that finds it ready, running, on a node that answers, and left alone by the keeper
 * suspended   while the lease is not renewed: nothing is asked, what is still answered counts nothing
 * forgotten   frozen, parked, waking, stepping down, restarting, draining or gone: its counts begin anew afterwards
 */

export type ProberOptions = {
  picture: Pick<World, 'replicas' | 'revisions' | 'nodes'>
  keeper: Pick<Keeper, 'busyWith'>
  /** One question. Null when it could not be put, which says nothing about the app. Never rejects. */
  ask(replica: ReplicaView, probe: ProbeTemplate): Promise<ProbeResult | null>
  /** Whether the lease is renewed. */
  isFresh(): boolean
  /** The readiness probe has begun to fail, with why, or (null) succeeds again. */
  onReadiness(id: ReplicaId, failure: string | null): void
  /** The liveness probe fails; told again with every further failure. */
  onHung(id: ReplicaId, failure: string): void
  /** Milliseconds of a monotonic clock. */
  now: () => number
  /** 0..1 */
  random: () => number
  /** Questions under way at once on one node. */
  perNode?: number
}

type Watch = {
  kind: 'readiness' | 'liveness'
  probe: ProbeTemplate
  run: ProbeRun
  dueAt: number
  asking: boolean
}

type Question = { replica: ReplicaView; watch: Watch }

const defaultPerNode = 64

export function createProber(options: ProberOptions): { tick(): void } {
  const { picture, keeper, now, perNode = defaultPerNode } = options
  const watches = new Map<ReplicaId, Watch[]>()
  const underWay = new Map<NodeUid, number>()

  function mayBeAsked({ id, state, rung, serving, nodeUid }: ReplicaView): boolean {
    if (state !== 'ready' || rung !== 'running' || !serving || keeper.busyWith(id)) return false
    return picture.nodes.get(nodeUid)?.reachability === 'ready'
  }

  function watchesOf(replica: ReplicaView): Watch[] {
    const known = watches.get(replica.id)
    if (known !== undefined) return known
    const container = picture.revisions.get(replica.revisionUid)?.template.containers[0]
    const { readinessProbe, livenessProbe } = container ?? {}
    const fresh = [
      ...(readinessProbe ? [readiness(replica, readinessProbe)] : []),
      ...(livenessProbe ? [liveness(livenessProbe)] : []),
    ]
    watches.set(replica.id, fresh)
    return fresh
  }

  /** It became ready by this probe. One that was found unready is asked at once: somebody may wait for it. */
  function readiness({ reason }: ReplicaView, probe: ProbeTemplate): Watch {
    const [verdict, dueAt] =
      reason === null ? (['passing', somewhereIn(probe)] as const) : (['failing', now()] as const)
    return { kind: 'readiness', probe, run: newProbeRun(verdict), dueAt, asking: false }
  }

  function liveness(probe: ProbeTemplate): Watch {
    const dueAt = somewhereIn(probe) + probe.initialDelaySeconds * 1000
    return { kind: 'liveness', probe, run: newProbeRun('passing'), dueAt, asking: false }
  }

  /** Replicas that began together are not asked together. */
  function somewhereIn({ periodSeconds }: ProbeTemplate): number {
    return now() + options.random() * periodSeconds * 1000
  }

  function questionsDue(): Question[] {
    const due: Question[] = []
    for (const replica of picture.replicas.values()) {
      if (!mayBeAsked(replica)) watches.delete(replica.id)
      else
        for (const watch of watchesOf(replica))
          if (!watch.asking && watch.dueAt <= now()) due.push({ replica, watch })
    }
    return due.sort((a, b) => a.watch.dueAt - b.watch.dueAt)
  }

  async function put({ replica, watch }: Question): Promise<void> {
    const { id, nodeUid } = replica
    watch.asking = true
    watch.dueAt = now() + watch.probe.periodSeconds * 1000
    underWay.set(nodeUid, (underWay.get(nodeUid) ?? 0) + 1)
    const result = await options.ask(replica, watch.probe)
    underWay.set(nodeUid, (underWay.get(nodeUid) ?? 1) - 1)
    watch.asking = false
    const current = picture.replicas.get(id)
    if (result === null || current === undefined || !options.isFresh()) return
    // What was done to it meanwhile may be all that the answer tells of.
    if (watches.get(id)?.includes(watch) !== true || !mayBeAsked(current)) return
    watch.run = noteProbeResult(watch.run, result.ok, watch.probe)
    conclude(current, watch, result)
  }

  function conclude({ id, reason }: ReplicaView, { kind, run }: Watch, result: ProbeResult): void {
    const failing = run.verdict === 'failing'
    if (kind === 'liveness') {
      if (failing && !result.ok) options.onHung(id, result.message)
    } else if (failing && reason === null && !result.ok) options.onReadiness(id, result.message)
    else if (!failing && reason !== null) options.onReadiness(id, null)
  }

  return {
    tick() {
      if (!options.isFresh()) return
      for (const question of questionsDue())
        if ((underWay.get(question.replica.nodeUid) ?? 0) < perNode) void put(question)
      for (const id of watches.keys()) if (!picture.replicas.has(id)) watches.delete(id)
      for (const [uid, count] of underWay) if (count === 0) underWay.delete(uid)
    },
  }
}
