import {
  isFinalPhase,
  rolloutStrategies,
  type ReplicaId,
  type RolloutProgress,
  type RolloutStrategy,
} from '@berth/contracts'
import type { DeploymentFacts, ReconcileSnapshot, ReplicaFacts, TrafficBefore } from '@berth/db'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Action, ServiceMemory } from './action.ts'
import { plan } from './plan.ts'
import {
  aDeployment,
  aNode,
  aReplica,
  aRevision,
  aSnapshot,
  readAtMs,
  revisionUid,
} from './testing/snapshot-builders.ts'
import { isAcknowledged } from './wanted-traffic.ts'

/*
 * A model of everything around the plan: users deploy, cancel, roll back and delete, operators drain nodes, starts
 * succeed and fail, routers acknowledge when they like, and a worker dies between any two actions.
 */

type Event =
  | { kind: 'deploy'; sameContent: boolean }
  | { kind: 'cancel' }
  | { kind: 'strategy'; strategy: RolloutStrategy }
  | { kind: 'promote'; percent: number }
  | { kind: 'pause' }
  | { kind: 'resume' }
  | { kind: 'abort' }
  | { kind: 'crash' }
  | { kind: 'rollback' }
  | { kind: 'delete' }
  | { kind: 'start'; outcome: 'ready' | 'AppCrashed' | 'NodeLost' }
  | { kind: 'acknowledge' }
  | { kind: 'removed' }
  | { kind: 'drain'; node: number }
  | { kind: 'idle' }
  | { kind: 'pass'; survives: number }
  | { kind: 'time'; ms: number }

const event: fc.Arbitrary<Event> = fc.oneof(
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('deploy' as const), sameContent: fc.boolean() }) },
  { weight: 1, arbitrary: fc.constantFrom<Event>({ kind: 'cancel' }, { kind: 'rollback' }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('strategy' as const),
      strategy: fc.constantFrom(...rolloutStrategies),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.constantFrom<Event>(
      { kind: 'promote', percent: 30 },
      { kind: 'promote', percent: 100 },
      { kind: 'pause' },
      { kind: 'resume' },
      { kind: 'abort' },
    ),
  },
  {
    weight: 3,
    arbitrary: fc.constant<Event>({ kind: 'crash' }),
  },
  {
    weight: 2,
    arbitrary: fc.constantFrom<Event>(
      { kind: 'drain', node: 0 },
      { kind: 'drain', node: 1 },
      { kind: 'idle' },
    ),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('start' as const),
      outcome: fc.constantFrom(
        'ready' as const,
        'ready' as const,
        'AppCrashed' as const,
        'NodeLost' as const,
      ),
    }),
  },
  { weight: 4, arbitrary: fc.constantFrom<Event>({ kind: 'acknowledge' }, { kind: 'removed' }) },
  {
    weight: 8,
    arbitrary: fc.record({ kind: fc.constant('pass' as const), survives: fc.integer({ min: 0, max: 6 }) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('time' as const), ms: fc.integer({ min: 1, max: 90_000 }) }),
  },
)

class Model {
  snapshot: ReconcileSnapshot = aSnapshot({ nodes: [aNode('n1'), aNode('n2')] })
  memory: ServiceMemory = {}
  now = readAtMs
  gone = false
  content = 1
  replicas = 0

  apply(change: Event): void {
    const { service, open } = this.snapshot
    switch (change.kind) {
      case 'deploy': {
        if (service.deletedAt) return
        if (!change.sameContent) this.content += 1
        this.change({ service: { ...service, generation: service.generation + 1, pinnedRevision: null } })
        const fresh = { revisionUid: null, revisionName: null, phase: 'queued' as const, workedOnSince: null }
        const startedAt = new Date(this.now)
        this.change({ open: [...open, aDeployment(service.generation + 1, { ...fresh, startedAt })] })
        return
      }
      case 'cancel':
        return this.tell({ cancelRequestedAt: new Date(this.now) })
      case 'strategy':
        return this.change({ service: { ...service, rollout: { strategy: change.strategy } } })
      case 'promote':
        return this.tell({ promoteTo: change.percent })
      case 'pause':
        return this.tell({ pausedAt: new Date(this.now) })
      case 'resume':
        return this.tell({ pausedAt: null })
      case 'crash':
        return this.crash()
      case 'abort':
        return this.tell({ abortRequestedAt: new Date(this.now) })
      case 'rollback': {
        const target = this.snapshot.revisions.find(({ readyAt }) => readyAt !== null)
        if (!target || service.deletedAt) return
        const generation = service.generation + 1
        const deployment = aDeployment(generation, {
          trigger: 'rollback',
          revisionUid: null,
          revisionName: null,
          phase: 'queued',
          workedOnSince: null,
          startedAt: new Date(this.now),
        })
        return this.change({
          service: { ...service, generation, pinnedRevision: target.name },
          open: [...open, deployment],
        })
      }
      case 'delete':
        return this.change({ service: { ...service, deletedAt: new Date(this.now) } })
      case 'start':
        return this.endStart(change.outcome)
      case 'acknowledge':
        return this.change({
          acknowledged: this.snapshot.status.traffic
            .filter(({ percent }) => percent > 0)
            .map(({ revision, percent }) => ({ revision: this.uidOf(revision), percent })),
        })
      case 'removed':
        return this.change({ replicas: this.snapshot.replicas.filter(({ state }) => state !== 'draining') })
      case 'drain':
        return this.drain(change.node)
      case 'idle':
        return this.change({
          replicas: this.snapshot.replicas.map((each) =>
            each.state === 'ready' ? { ...each, rung: 'frozen' as const } : each,
          ),
        })
      case 'time':
        this.now += change.ms
        return
      case 'pass':
        this.pass(change.survives)
    }
  }

  /** Runs until quiet, or dies after so many actions and forgets what it knew. True when it came to rest. */
  pass(survives: number): boolean {
    let left = survives
    for (let round = 0; round < 20 && !this.gone; round += 1) {
      const actions = plan({ ...this.snapshot, readAt: new Date(this.now) }, this.memory, this.now)
      for (const action of actions) {
        if (left <= 0) {
          this.memory = {}
          return false
        }
        left -= 1
        this.execute(action)
      }
      if (actions.every(({ kind }) => kind === 'wait' || kind === 'set-condition')) return true
    }
    return this.gone
  }

  private execute(action: Action): void {
    switch (action.kind) {
      case 'resolve-image': {
        const { generation } = this.snapshot.service
        const hash = { contentHash: `hash-${this.content}`, digest: 'sha256:1' }
        this.step(action.deployment, { phase: 'resolving', workedOnSince: new Date(this.now) })
        this.memory.image = {
          deployment: action.deployment,
          generation,
          kind: 'resolved',
          image: { repository: 'r/hello', architectures: [], ...hash },
        }
        return
      }
      case 'make-revision': {
        const number = (this.snapshot.revisions.at(-1)?.number ?? 0) + 1
        const { contentHash, digest: imageDigest } = action.image
        const revision = aRevision(number, { contentHash, imageDigest, createdAt: new Date(this.now) })
        this.change({ revisions: [...this.snapshot.revisions, revision] })
        return this.step(action.deployment, {
          phase: 'placing',
          revisionUid: revision.uid,
          revisionName: revision.name,
        })
      }
      case 'reuse-revision':
        return this.step(action.deployment, {
          phase: 'placing',
          workedOnSince: new Date(this.now),
          revisionUid: action.revision.uid,
          revisionName: action.revision.name,
        })
      case 'place-replicas':
        expect(action.deployment, 'only the newest deployment starts replicas').toBe(
          this.snapshot.open.at(-1)?.id,
        )
        for (const node of action.nodes)
          this.start(action.revision.uid, { nodeUid: node.uid, deploymentId: action.deployment })
        return
      case 'replace-replicas':
        for (const { of, node } of action.replacements)
          this.start(action.revision.uid, { nodeUid: node.uid, deploymentId: null, replaces: of })
        return
      case 'shift-traffic': {
        const latest = action.ready?.latest ? { latestReadyRevision: action.ready.name } : {}
        this.change({ status: { ...this.snapshot.status, ...latest, traffic: action.traffic } })
        const readyUid = action.ready?.uid
        const readyAt = new Date(this.now)
        this.change({
          revisions: this.snapshot.revisions.map((each) =>
            each.uid === readyUid && each.readyAt === null ? { ...each, readyAt } : each,
          ),
        })
        if (action.deployment) this.stepTo(action.deployment)
        return
      }
      case 'note-rollout':
        return this.step(action.deployment, { rollout: action.rollout })
      case 'take-traffic-back':
        this.goBack(action.back)
        return this.end(action.deployment, action.end)
      case 'roll-back': {
        const { lastFinished } = this.snapshot
        expect(action.deployment, 'only what served last is rolled back').toBe(lastFinished?.id)
        this.goBack(action.back)
        if (lastFinished) this.change({ lastFinished: { ...lastFinished, rolledBack: action.why } })
        return
      }
      case 'finish-deployment':
        return this.end(action.deployment, action)
      case 'retire-replicas':
        for (const id of action.replicas) this.retire(id)
        return
      case 'set-condition': {
        const { ready, observedGeneration } = action
        return this.change({ status: { ...this.snapshot.status, ready, observedGeneration } })
      }
      case 'report-trouble':
        return this.step(action.deployment, { reason: action.reason, message: action.message })
      case 'delete-service':
        expect(this.snapshot.replicas.every(({ state }) => state === 'failed')).toBe(true)
        this.gone = true
        return
      case 'wait':
    }
  }

  /** What the routers are to get for a step: never more than it says, never less than before. */
  private stepTo({ id, rollout }: { id: DeploymentFacts['id']; rollout: RolloutProgress }): void {
    const { open, service, status } = this.snapshot
    const deployment = open.find((each) => each.id === id)
    const before = deployment?.rollout?.percent ?? 0
    if (deployment?.rollout) {
      expect(rollout.percent, 'the percent only rises').toBeGreaterThan(before)
      if (before > 0) expect(deployment.rollout.acknowledgedAt, 'a step is acknowledged first').not.toBeNull()
    }
    if (service.pinnedRevision === null && rollout.previous !== null) {
      const share = status.traffic.find(({ revision }) => revision === deployment?.revisionName)
      expect(share?.percent ?? 0).toBe(rollout.percent)
      expect(status.traffic.reduce((sum, { percent }) => sum + percent, 0)).toBe(100)
    }
    this.step(id, { phase: 'shifting', rollout })
  }

  private end(
    id: DeploymentFacts['id'],
    { phase, reason, message }: Pick<DeploymentFacts, 'phase' | 'reason' | 'message'>,
  ): void {
    const ended = this.snapshot.open.find((each) => each.id === id)
    if (!ended) throw new Error('ended twice')
    const last = this.snapshot.lastFinished
    this.change({
      open: this.snapshot.open.filter((each) => each.id !== id),
      lastFinished:
        last && last.generation > ended.generation
          ? last
          : { ...ended, phase, reason, message, finishedAt: new Date(this.now) },
    })
  }

  private goBack({ traffic, latest }: TrafficBefore): void {
    expect(this.snapshot.service.deletedAt).toBeNull()
    this.change({ status: { ...this.snapshot.status, traffic, latestReadyRevision: latest } })
  }

  /** The app of some ready replica ends and is started again. */
  private crash(): void {
    const which = this.snapshot.replicas.findLast(({ state }) => state === 'ready')
    const end = new Date(this.now).toISOString()
    this.change({
      replicas: this.snapshot.replicas.map((each) =>
        each === which
          ? { ...each, state: 'starting' as const, readyAt: null, ends: [...each.ends, end] }
          : each,
      ),
    })
  }

  /** The user says something about whatever is under way. */
  private tell(wish: Partial<DeploymentFacts>): void {
    this.change({ open: this.snapshot.open.map((each) => ({ ...each, ...wish })) })
  }

  private retire(id: ReplicaId): void {
    const replica = this.snapshot.replicas.find((each) => each.id === id)
    if (replica && this.mayLeave(replica)) {
      const starts = this.snapshot.open.filter(({ rollout }) => rollout === null || rollout.percent === 100)
      expect(starts, 'a deployment that is under way comes first').toEqual([])
    } else if (!this.snapshot.service.deletedAt && replica) {
      const served = this.snapshot.acknowledged?.some(({ revision }) => revision === replica.revisionUid)
      expect(served ?? false, 'a replica retires while routers still send it requests').toBe(false)
      const routed = this.snapshot.status.traffic.some(
        ({ revision }) => this.uidOf(revision) === replica.revisionUid,
      )
      expect(routed, 'a replica of a routed revision retires').toBe(false)
    }
    this.change({
      replicas: this.snapshot.replicas.map((each) =>
        each.id === id ? { ...each, state: 'draining' as const } : each,
      ),
    })
  }

  /** One node at a time, so that there is a place for what leaves it; the other one takes replicas again. */
  private drain(which: number): void {
    this.change({
      nodes: this.snapshot.nodes.map((node, index) => ({
        ...node,
        scheduling: index === which ? ('draining' as const) : ('active' as const),
      })),
    })
  }

  isDrained(replica: ReplicaFacts): boolean {
    const node = this.snapshot.nodes.find(({ uid }) => uid === replica.nodeUid)
    return node?.scheduling === 'draining'
  }

  /** Off a drained node, although its revision is routed: nobody is served by it, or somebody else is ready to. */
  private mayLeave(replica: ReplicaFacts): boolean {
    const { service, status, replicas } = this.snapshot
    const routed = status.traffic.some(({ revision }) => this.uidOf(revision) === replica.revisionUid)
    if (service.deletedAt || !routed || !this.isDrained(replica)) return false
    return (
      replica.rung !== 'running' ||
      replicas.some(({ replaces, state }) => replaces === replica.id && state === 'ready')
    )
  }

  private start(
    revision: string,
    about: Pick<ReplicaFacts, 'nodeUid' | 'deploymentId'> & { replaces?: ReplicaId },
  ): void {
    this.replicas += 1
    const replica = aReplica(`r${this.replicas}`, Number(revision.slice(4)), {
      state: 'starting',
      readyAt: null,
      ...about,
    })
    expect(this.isDrained(replica), 'nothing starts on a drained node').toBe(false)
    this.change({ replicas: [...this.snapshot.replicas, replica] })
  }

  private endStart(outcome: 'ready' | 'AppCrashed' | 'NodeLost'): void {
    const first = this.snapshot.replicas.find(({ state }) => state === 'starting')
    if (!first) return
    const at = new Date(this.now)
    const failed = { state: 'failed' as const, failedAt: at, reason: outcome, message: outcome }
    const end = outcome === 'ready' ? { state: 'ready' as const, readyAt: at } : failed
    this.change({
      replicas: this.snapshot.replicas.map((each) => (each === first ? { ...each, ...end } : each)),
    })
  }

  private step(id: DeploymentFacts['id'], change: Partial<DeploymentFacts>): void {
    const active = this.snapshot.open.at(-1)
    expect(id, 'only the newest deployment gets on').toBe(active?.id)
    this.change({ open: this.snapshot.open.map((each) => (each.id === id ? { ...each, ...change } : each)) })
  }

  private change(change: Partial<ReconcileSnapshot>): void {
    this.snapshot = { ...this.snapshot, ...change }
  }

  private uidOf(name: string) {
    return revisionUid(Number(name.slice(-5)))
  }

  /** Everything around the plan works from now on. */
  settle(): void {
    for (let turn = 0; turn < 60; turn += 1) {
      // Whoever deploys by hand or has paused comes back in the end.
      if (turn === 40) for (const kind of ['resume', 'promote'] as const) this.apply({ kind, percent: 100 })
      this.pass(1_000)
      this.apply({ kind: 'acknowledge' })
      this.apply({ kind: 'removed' })
      this.apply({ kind: 'start', outcome: 'ready' })
      this.apply({ kind: 'time', ms: 61_000 })
    }
  }
}

test('whatever happens, the service comes to rest with the wanted replicas alone', () => {
  fc.assert(
    fc.property(fc.array(event, { maxLength: 60 }), (events) => {
      const model = new Model()
      for (const each of events) model.apply(each)
      model.settle()
      const { open, status, replicas, lastFinished } = model.snapshot
      expect(open).toEqual([])
      expect(lastFinished === null || isFinalPhase(lastFinished.phase)).toBe(true)
      expect(isAcknowledged(model.snapshot)).toBe(true)
      expect(new Set(status.traffic.map(({ revision }) => revision)).size).toBeLessThanOrEqual(1)
      const routed = status.traffic.map(({ revision }) => revision)
      const live = replicas.filter(({ state }) => state !== 'failed')
      for (const replica of live) {
        expect(routed.map((name) => revisionUid(Number(name.slice(-5))))).toContain(replica.revisionUid)
        expect(model.isDrained(replica), 'nothing is left on a drained node').toBe(false)
      }
      expect(status.observedGeneration).toBe(model.snapshot.service.generation)
      const again = plan({ ...model.snapshot, readAt: new Date(model.now) }, model.memory, model.now)
      expect(again, 'a second look finds nothing to do').toEqual([])
    }),
    { numRuns: 400 },
  )
})

test('whatever happened, a deletion leaves nothing that runs', () => {
  fc.assert(
    fc.property(fc.array(event, { maxLength: 40 }), (events) => {
      const model = new Model()
      for (const each of events) model.apply(each)
      model.apply({ kind: 'delete' })
      model.settle()
      expect(model.gone).toBe(true)
    }),
    { numRuns: 200 },
  )
})

test('traffic never moves to a revision that was not ready', () => {
  fc.assert(
    fc.property(fc.array(event, { maxLength: 60 }), (events) => {
      const model = new Model()
      for (const each of events) {
        model.apply(each)
        for (const { revision } of model.snapshot.status.traffic)
          expect(model.snapshot.revisions.find(({ name }) => name === revision)?.readyAt).toBeInstanceOf(Date)
      }
    }),
    { numRuns: 300 },
  )
})
