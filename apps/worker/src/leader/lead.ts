import type { NodeUid, ProjectUid, ReplicaId, RevisionUid, RouteVersion, ServiceUid } from '@berth/contracts'
import {
  freeSpares,
  listenForServiceChanges,
  readNodeImages,
  readObservedRollouts,
  readRouters,
  readWorld,
  recordNodeImage,
  releaseLeaseAbove,
  reserveReplica,
  writeLeaderAddress,
  writeAnswersBefore,
  writeRevisionFailure,
  writeRolloutTrouble,
  writeRouters,
  writeServiceRoutes,
  type Database,
  type Keyring,
  type ReplicaRow,
  type WorldReplica,
} from '@berth/db'
import type { RegistryAccess } from '@berth/engine'
import type { Logger } from 'pino'
import { startSweep } from '../reconcile/sweep.ts'
import {
  createImageSupply,
  createStartGate,
  pastName,
  replicaRows,
  type Failure,
  type ReplicaDeps,
  type ReplicaHost,
} from '../replicas/index.ts'
import { adoptRunning } from './adopt-running.ts'
import { createAppRestarts } from './app-restarts.ts'
import { createAutoscaler } from './autoscaler.ts'
import type { AppLocation } from './app-log.ts'
import { openEngines } from './engines.ts'
import { createEnvironments } from './environments.ts'
import { createEventFollowers } from './event-followers.ts'
import { createFailedReplicas } from './failed-replicas.ts'
import { createHeldStarts } from './held-starts.ts'
import { keepHouse } from './housekeeping.ts'
import type { Term } from './leadership.ts'
import { careForNodes } from './node-care.ts'
import { fitsElsewhere } from './place-in-picture.ts'
import { careForProbes } from './probe-care.ts'
import type { NodeDisks } from './node-disks.ts'
import { createNodeLanes } from './node-lanes.ts'
import { createReplicaKeeper, type Keeper } from './replica-keeper.ts'
import { createReplicaWatch } from './replica-watch.ts'
import { startRound } from './rounds.ts'
import { createRolloutWatch } from './rollout-watch.ts'
import { createRoutePublisher } from './route-publisher.ts'
import type { RouterHub } from './router-hub.ts'
import { createRowWriter } from './row-writer.ts'
import { createSparePool, type SpareKind } from './spare-pool.ts'
import { createStartFailures } from './start-failures.ts'
import { createStepDown } from './step-down.ts'
import { reservesPlace } from './supply.ts'
import { createVolumeTransfers, type VolumeTransfers } from './volume-transfers.ts'
import { createPicture, type Picture } from './world.ts'
import type { NodeView, ReplicaView, RevisionView } from './world-model.ts'

export type LeadOptions = {
  db: Database
  /** For the connection that listens for changes. */
  databaseUrl: string
  installation: string
  domain: string
  networkCidr: string
  keyring: Keyring
  /** Path of a static busybox. */
  busybox: string
  hub: RouterHub
  hubSocket: string
  controlSocket: string
  registryAccess: (project: ProjectUid) => RegistryAccess
  /** False while Redis is away: then nothing is stepped down. */
  redisHealthy(): boolean
  /** Asks for a reconcile pass. */
  reconcile: (service: ServiceUid) => void
  /** Called once this worker leads with a complete picture. */
  onLeading(leading: Leading): void
  log: Logger
}

/** What the control server and the metrics ask a leader for. */
export type Leading = {
  locate(replica: ReplicaId): AppLocation | undefined
  transfers: VolumeTransfers
  disks: NodeDisks['measured']
}

const refreshEveryMs = 1_000
const scaleEveryMs = 500
const lookEveryMs = 2_000
const spareEveryMs = 1_000
const holdEveryMs = 500
const probeEveryMs = 100
const lossEveryMs = 1_000
const rolloutEveryMs = 1_000
const tidyEveryMs = 2_000
/** How soon the disk of a node that has just come is measured. */
const diskEveryMs = 5_000
const garbageEveryMs = 60_000
/** What does not end by then is left to the next leader, which adopts it. */
const farewellMs = 5_000
/** No backup is that old: a router that claims more is broken. */
const maxEpochsAhead = 1_000_000

/**
 * Leads until the term ends: loads the picture, compares it with the engines, publishes routes under the new epoch,
 * and then keeps replicas, scale, nodes and garbage in order. Everything it starts ends with the term.
 */
export async function lead(options: LeadOptions, term: Term): Promise<void> {
  const closers: Closer[] = []
  try {
    await leadUntilEnded(options, term, closers)
  } finally {
    for (const close of closers.toReversed()) await closeOne(close, options.log)
  }
}

/** One that fails keeps none of the others open. */
async function closeOne(close: Closer, log: Logger): Promise<void> {
  try {
    await close()
  } catch (error) {
    log.error({ err: error }, 'a part of the leader did not close')
  }
}

type Closer = () => unknown

async function leadUntilEnded(options: LeadOptions, term: Term, closers: Closer[]): Promise<void> {
  const { db, installation, hub, log } = options
  const now = () => performance.now()
  let goingAbove = false

  const writer = createRowWriter({ db, lease: term.lease, onLeaseLost: term.lose, log })
  closers.push(() => writer.close())
  let keeper: Keeper | undefined
  const picture = createPicture({
    touchedSince: (id, since) => writer.touchedSince(id, since) || keeper?.busyWith(id) === true,
  })
  const engines = openEngines({ db, keyring: options.keyring, busybox: options.busybox, log })
  closers.push(() => engines.close())
  const publisher = createRoutePublisher({
    installation,
    domain: options.domain,
    epoch: term.lease.epoch,
    world: picture,
    audience: hub.audience,
    signal: term.signal,
    onServiceRouted(service, targets) {
      writer.write(`routes:${service}`, 'routes', (db, lease) =>
        writeServiceRoutes(db, lease, service, targets),
      )
    },
  })
  const deps: ReplicaDeps = {
    installation,
    fence: term.fence,
    rows: replicaRows(db, term.lease, { installation, networkCidr: options.networkCidr }),
    images: createImageSupply({
      accessOf: (project) => options.registryAccess(project as ProjectUid),
      otherRuntimes: ({ uid }) =>
        readyNodes()
          .filter((node) => node.uid !== uid)
          .flatMap((node) => engines.runtime(node.uid) ?? []),
      onPresent: ({ uid }, digest) =>
        writer.write(`image:${uid}:${digest}`, 'image', (db, lease) =>
          recordNodeImage(db, lease, uid, digest),
        ),
    }),
    gate: createStartGate(),
  }
  const readyNodes = () => [...picture.nodes.values()].filter(({ reachability }) => reachability === 'ready')
  const failures = createStartFailures(now)
  const environments = createEnvironments(db, options.keyring)

  function hostOf(uid: NodeUid): ReplicaHost | null {
    const node = picture.nodes.get(uid)
    return node?.reachability === 'ready' ? engines.host(node) : null
  }

  const isStarting = (uid: NodeUid) =>
    [...picture.replicas.values()].some(
      ({ id, nodeUid, state }) => nodeUid === uid && (state === 'starting' || theKeeper.waking(id)),
    )

  const transfers = createVolumeTransfers({ installation, hostOf, fence: term.fence, signal: term.signal })

  const spares = createSparePool({
    deps,
    hostOf,
    freeSpares: () => freeSpares(db),
    isUseful: (kind) => isSpareUseful(picture, kind),
    isStarting,
    lanes: createNodeLanes('spares', log),
    log,
  })

  const theKeeper = createReplicaKeeper({
    term,
    picture,
    publisher,
    writer,
    engines,
    deps,
    environmentOf: (revision) => environments.of(revision),
    onOutcome(replica, failure) {
      if (failure) return failures.failed(replica.revisionUid, failure)
      failures.succeeded(replica.revisionUid)
      const port = picture.revisions.get(replica.revisionUid)?.template.containers[0]?.ports[0]?.port
      const project = picture.services.get(replica.serviceUid)?.project
      if (port === undefined || project === undefined) return
      const { nodeUid, projectUid, address } = replica
      spares.wanted({ node: nodeUid, projectUid, project, containerPort: port, address })
    },
    log,
  })
  keeper = theKeeper

  const hasImage = (node: string, digest: string) => images.has(`${node} ${digest}`)
  const restarts = createAppRestarts({
    picture,
    keeper: theKeeper,
    publisher,
    writer,
    fitsElsewhere({ revisionUid, nodeUid }) {
      const revision = picture.revisions.get(revisionUid)
      if (revision === undefined || nodeCare.held() !== null) return false
      const facts = {
        hasImage: (node: string) => hasImage(node, revision.imageDigest),
        reserves: (other: ReplicaView) => reservesPlace(theKeeper, other),
      }
      return fitsElsewhere(picture, revision, facts, nodeUid)
    },
    log,
  })
  const watch = createReplicaWatch({
    installation,
    picture,
    keeper: theKeeper,
    restarts,
    publisher,
    writer,
    engines,
    environmentOf: (revision) => environments.of(revision),
    onListed: (...seen) => spares.listed(...seen),
    isFresh: term.isFresh,
    log,
  })
  const complete = () => term.isFresh() && options.redisHealthy() && hub.reports.complete()
  /** What is to go needs the word of every router too; where there is none, nobody has to be asked. */
  const mayRetire = () => complete() || (term.isFresh() && options.redisHealthy() && hub.membership.isEmpty())
  const stepDown = createStepDown({ keeper: theKeeper, reports: hub.reports, complete, now })
  const images = new Set<string>()
  let reads = 0

  /** Carries on with what rows ask for: starts, and what is to go. */
  function tend(): void {
    for (const replica of picture.replicas.values()) {
      if (replica.state === 'starting' && !restarts.resting(replica)) theKeeper.bringUp(replica.id)
      else if (replica.state === 'draining' && mayRetire()) theKeeper.retire(replica.id)
    }
  }

  async function refresh(only?: ServiceUid): Promise<void> {
    const read = { number: (reads += 1), moment: writer.moment() }
    const rows = await readWorld(db, only)
    if (term.signal.aborted) return
    picture.merge(rows, read, only)
    tend()
  }

  async function refreshAll(): Promise<void> {
    for (const uid of await engines.refresh()) nodeCare.replaced(uid)
    const held = await readNodeImages(db)
    images.clear()
    for (const { nodeUid, digest } of held) images.add(`${nodeUid} ${digest}`)
    environments.forget((uid) => picture.revisions.has(uid))
    restarts.forget((id) => picture.replicas.has(id))
    hub.forgetReplicas((id) => picture.replicas.has(id as ReplicaId))
    hub.reports.forgetRevisions((uid) => picture.revisions.has(uid as RevisionUid))
    await refresh()
    followers.keep((uid) => picture.nodes.has(uid))
  }

  // At once, and not only when everything else has come to its end: routers look for the next leader.
  term.signal.addEventListener('abort', () => hub.stopLeading(), { once: true })

  // Take over: rows first, then what the engines say, then routes.
  await engines.refresh()
  picture.merge(await readWorld(db), { number: (reads += 1), moment: 0 })
  failures.recall([...picture.replicas.values()])
  for (const { id, incarnation, adminPort } of await readRouters(db))
    hub.membership.expect(id, incarnation, adminPort)
  await adoptRunning({ picture, look: lookAt })
  if (term.signal.aborted) return
  publisher.publish([...picture.services.keys()])
  closers.push(picture.onChange(({ services }) => void publisher.publish(services)))
  closers.push(hub.membership.onChange(noteRouters))
  hub.lead({
    epoch: term.lease.epoch,
    snapshot: () => publisher.snapshot(),
    onAhead: (served) => void leadAbove(served),
  })
  await writeLeaderAddress(db, term.lease, {
    hubSocket: options.hubSocket,
    controlSocket: options.controlSocket,
  })

  /** Ends this term for one that routers listen to. */
  async function leadAbove({ epoch }: RouteVersion): Promise<void> {
    if (goingAbove || epoch - term.lease.epoch > maxEpochsAhead) return
    goingAbove = true
    log.warn({ epoch, own: term.lease.epoch }, 'routers serve a newer table than the database knows of')
    try {
      await releaseLeaseAbove(db, term.lease, epoch)
      term.lose()
    } catch (error) {
      log.warn({ err: error }, 'the leader lease could not be lifted')
      goingAbove = false
    }
  }

  /** The service's condition follows with the next pass. */
  function noteFailure({ uid, serviceUid, failure: known }: RevisionView, failure: Failure | null): void {
    if (known?.reason === failure?.reason && known?.message === failure?.message) return
    picture.updateRevision(uid, { failure })
    writer.write(uid, 'failure', async (db, lease) => {
      await writeRevisionFailure(db, lease, uid, failure)
      options.reconcile(serviceUid)
    })
  }

  /** For the next leader, which has to wait for them. */
  function noteRouters(): void {
    writer.write('routers', 'routers', (db, lease) =>
      writeRouters(
        db,
        lease,
        hub.membership.known().map(({ id, incarnation, adminPort }) => ({ id, incarnation, adminPort })),
      ),
    )
  }

  async function lookAt(node: NodeView): Promise<boolean> {
    try {
      await engines.prepare(node, term.fence)
      return await watch.look(node.uid)
    } catch (error) {
      log.warn({ err: error, node: node.name }, 'node could not be looked at')
      return false
    }
  }

  const followers = createEventFollowers(watch, engines, term.signal)
  for (const { uid } of readyNodes()) followers.follow(uid)

  const nodeCare = careForNodes({
    db,
    installation,
    term,
    picture,
    publisher,
    writer,
    engines,
    onReady({ uid }) {
      followers.follow(uid)
      void watch.look(uid).then(tend)
    },
    onDown({ uid }) {
      followers.leave(uid)
      theKeeper.abandon(uid)
    },
    log,
  })
  closers.push(() => nodeCare.close())

  const autoscaler = createAutoscaler({
    picture,
    keeper: theKeeper,
    reports: hub.reports,
    publisher,
    failures,
    stepDown,
    async reserve(wanted) {
      const result = await reserveReplica(db, term.lease, { ...wanted, deploymentId: null })
      if (result.kind === 'reserved') picture.addReplica(worldReplica(result.replica))
      return result
    },
    onFailure: noteFailure,
    hasImage,
    held: () => nodeCare.held(),
    complete,
    log,
    now,
  })
  closers.push(hub.reports.onDemand(({ revision }) => autoscaler.demand(revision)))
  closers.push(
    hub.reports.onReplicaFailed(({ replica }) => {
      const node = picture.replicas.get(replica)?.nodeUid
      if (node !== undefined) void watch.look(node)
    }),
  )

  const probes = careForProbes({
    picture,
    keeper: theKeeper,
    restarts,
    publisher,
    writer,
    engines,
    isFresh: term.isFresh,
    log,
  })
  const failed = createFailedReplicas({
    picture,
    keeper: theKeeper,
    writer,
    held: () => nodeCare.held(),
    now,
  })
  const heldStarts = createHeldStarts({
    picture,
    keeper: theKeeper,
    isStarting,
    lanes: createNodeLanes('held starts', log),
    now,
  })
  const rollouts = createRolloutWatch({
    observed: () => readObservedRollouts(db),
    answers: (...asked) => hub.reports.answers(...asked),
    remember(deployment, before) {
      writer.write(deployment, 'answers before', (db, lease) =>
        writeAnswersBefore(db, lease, deployment, before),
      )
    },
    report(deployment, trouble) {
      writer.write(deployment, 'trouble', (db, lease) => writeRolloutTrouble(db, lease, deployment, trouble))
    },
    now,
  })
  const housekeeping = keepHouse({
    db,
    installation,
    term,
    picture,
    writer,
    engines,
    deps,
    hostOf,
    transferring: (node) => transfers.underWay(node),
    now,
    log,
  })
  for (const round of [
    { ms: refreshEveryMs, what: 'refresh', work: refreshAll },
    { ms: scaleEveryMs, what: 'scale', work: () => autoscaler.tick() },
    { ms: lookEveryMs, what: 'look', work: () => watch.lookAround() },
    { ms: probeEveryMs, what: 'probes', work: () => probes.tick() },
    { ms: spareEveryMs, what: 'spares', work: whileFresh(() => spares.fill()) },
    { ms: holdEveryMs, what: 'held starts', work: whileFresh(() => heldStarts.tick()) },
    { ms: rolloutEveryMs, what: 'rollouts', work: whileFresh(() => rollouts.tick()) },
    { ms: lossEveryMs, what: 'losses', work: whileFresh(() => failed.tick()) },
    { ms: diskEveryMs, what: 'disks', work: whileFresh(() => housekeeping.watchDisks()) },
    { ms: tidyEveryMs, what: 'tidy', work: whileFresh(() => housekeeping.tidy()) },
    { ms: garbageEveryMs, what: 'garbage', work: whileFresh(() => housekeeping.collect()) },
  ])
    closers.push(startRound(round, term.signal, log))

  /** What removes something waits while the lease is not renewed. */
  function whileFresh(work: () => void | Promise<void>): () => Promise<void> {
    return async () => {
      if (term.isFresh()) await work()
    }
  }

  const sweep = startSweep({ db, reconcile: options.reconcile, log })
  closers.push(() => sweep.close())
  const changes = listenForServiceChanges(options.databaseUrl, {
    onChange: (service) => void refreshOne(service as ServiceUid),
  })
  closers.push(() => changes.close())
  tend()
  options.onLeading({ locate, transfers, disks: () => housekeeping.disks() })

  function locate(id: ReplicaId): AppLocation | undefined {
    const replica = picture.replicas.get(id)
    const runtime = replica && engines.runtime(replica.nodeUid)
    const containerId = replica?.containers.app
    if (runtime === undefined || containerId === undefined) return undefined
    return { runtime, containerId, pastName: pastName(installation, id) }
  }

  async function refreshOne(service: ServiceUid): Promise<void> {
    await refresh(service).catch((error: unknown) => {
      log.debug({ err: error, service }, 'service could not be read')
    })
  }

  await ended(term.signal)
  await Promise.race([theKeeper.idle().then(() => writer.idle()), afterMs(farewellMs)])
}

/** Whether a service of the project could still bring up a replica with this container port on the node. */
function isSpareUseful(picture: Picture, { node, projectUid, containerPort }: SpareKind): boolean {
  if (picture.nodes.get(node)?.scheduling !== 'active') return false
  return [...picture.revisions.values()].some(({ serviceUid, template }) => {
    const service = picture.services.get(serviceUid)
    const port = template.containers[0]?.ports[0]?.port
    return port === containerPort && service?.projectUid === projectUid && !service.deleting
  })
}

function worldReplica(row: ReplicaRow): WorldReplica {
  const { startedAt: _startedAt, epoch: _epoch, ...rest } = row
  return { ...rest, containers: {} } as WorldReplica
}

function ended(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve()
  return new Promise((resolve) => {
    signal.addEventListener('abort', () => resolve(), { once: true })
  })
}

function afterMs(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms).unref()
  })
}
