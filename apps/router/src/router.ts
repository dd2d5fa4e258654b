import { randomUUID } from 'node:crypto'
import { readlinkSync } from 'node:fs'
import type { HelloFrame } from '@berth/contracts'
import type { Logger } from 'pino'
import { createAdminServer } from './admin-server.ts'
import { Revisions } from './admission/revisions.ts'
import { Slots } from './admission/slots.ts'
import { openLeaderChannel } from './channel/leader-channel.ts'
import { openLeaderLink } from './channel/leader-link.ts'
import { startReporting } from './channel/reporting.ts'
import type { RouterConfig } from './config.ts'
import { ConnectionPlaces } from './connection-places.ts'
import { Connections } from './connections.ts'
import { assertParserFits } from './downstream/http1/node-parser.ts'
import { createEdgeServer, listenAt, listenAtAll } from './edge-server.ts'
import type { AccessLine } from './exchange/access-line.ts'
import type { ExchangeContext } from './exchange/exchange.ts'
import { stopServing } from './graceful-stop.ts'
import { createAccessLog } from './observability/access-log.ts'
import type { LogWriter } from './observability/log-writer.ts'
import { createMetrics } from './observability/metrics.ts'
import { openRedisChannel } from './redis/redis-channel.ts'
import { applyRoutes, snapshotOf, type RouteTable } from './routes/route-table.ts'
import { createTableStore } from './routes/table-store.ts'
import { openCertificateFolder } from './tls/certificate-folder.ts'
import { openSessionPool } from './upstream/http2/session-pool.ts'
import { loadUpstreamClient } from './upstream/upstream-client.ts'

/** A router without any table waits this long for one before it accepts, and then answers 503. */
const tableWaitMs = 5000
/** A host port rests for ten minutes after use: a table that is older may lead to somebody else's app. */
const freshTableMs = 600_000
/** So long the leader may take to say which slots are this router's, and to send a newer table than one that is not fresh. */
const leaderAnswerMs = 1000

export type Router = {
  /** Ports of the edge, in the order of the places in the configuration. */
  edgePorts: readonly number[]
  /** The same for TLS; empty without it. */
  tlsPorts: readonly number[]
  adminPort: number
  /** Finishes what is under way, says goodbye to the leader and closes everything. */
  stop(): Promise<void>
}

/** What `log` is written with, for lines that are too many to go through it. */
export type LogLines = Pick<LogWriter, 'write' | 'droppedLines'>

/**
 * Puts a router together and starts it. Resolves when it accepts requests. Access lines go to `lines` by themselves, at
 * level info of `log`.
 */
export async function startRouter(config: RouterConfig, log: Logger, lines?: LogLines): Promise<Router> {
  assertParserFits()
  const incarnation = randomUUID()
  // One id per process: while one router replaces another, the leader has to wait for both.
  const router = `${config.name}-${incarnation.slice(0, 8)}`
  const openPool = await loadUpstreamClient(config.upstreamClient)
  const store = createTableStore(config.tableFile, log)
  const connections = new Connections()
  let table: RouteTable | undefined
  let draining = false
  let listening = false
  let tableCame: () => void = () => undefined
  const firstTable = new Promise<void>((resolve) => {
    tableCame = resolve
  })

  const slots = new Slots('waiting')
  let slotsTold: () => void = () => undefined
  const toldSlots = new Promise<void>((resolve) => {
    slotsTold = resolve
  })
  const givenBack = new Set<string>()
  const revisions: Revisions = new Revisions({
    slots,
    queueLimit: config.limits.queueLimit,
    onGaveBack(revision) {
      // Told once per turn of the event loop, with everything that ended in it.
      if (givenBack.size === 0) setImmediate(tellGivenBack)
      givenBack.add(revision)
    },
    connect: (replica, { concurrency, protocol }) =>
      protocol === 'h2c' ? openSessionPool(replica) : openPool(replica, concurrency),
    onQueued(revision) {
      reporting.queued(revision)
      if (revision.queued === 1 && revision.route.replicas.length === 0) metrics.woke(revision.route)
    },
    onEjected(replica, { route }) {
      metrics.ejected(route)
      log.warn({ replica, revision: route.name }, 'replica ejected: it answers 5xx and the others do not')
    },
    onReplicaFailed(replica, cause, { route }) {
      metrics.ejected(route)
      log.warn({ replica, cause }, 'replica taken out')
      link.send({ kind: 'replica-failed', replica, cause })
    },
    onLingeringShrunk: () => link.acknowledge(),
  })
  const metrics = createMetrics({
    inFlight: () => revisions.inFlight(),
    queued: () => revisions.queued(),
    revisions: () => revisions.all(),
    connections: () => connections.size,
    droppedLines: () => lines?.droppedLines ?? 0,
    services: () => table?.hosts.values() ?? [],
  })

  function tellGivenBack(): void {
    tellHeld(givenBack)
    givenBack.clear()
  }

  /** Says what this router has of `uids`, or of everything. */
  function tellHeld(uids?: Iterable<string>): void {
    const held = slots.held(uids)
    const needOf = (uid: string) => {
      const { inFlight = 0, queued = 0 } = revisions.get(uid) ?? {}
      return inFlight + queued
    }
    const told = held.revisions.map((revision) => ({ ...revision, need: needOf(revision.uid) }))
    link.send({ kind: 'slots-held', ...held, revisions: told })
  }

  function standAlone(): void {
    if (!slots.isWaiting) return
    slots.standAlone()
    revisions.share()
    slotsTold()
  }

  function serveFrom(next: RouteTable): void {
    revisions.update(next)
    table = next
    tableCame()
  }

  const kept = await store.load()
  function serveKept(): void {
    if (!kept || table) return
    const fromDisk = applyRoutes(undefined, kept.snapshot, config.installation)
    if (fromDisk.kind === 'applied') serveFrom(fromDisk.table)
  }
  if (kept && kept.ageMs < freshTableMs) serveKept()

  const link = openLeaderLink({
    router,
    incarnation,
    adminPort: config.adminPort,
    process: namedProcess(),
    openDirect: (events) =>
      config.hubSocket === undefined
        ? undefined
        : openLeaderChannel({ ...events, socketPath: config.hubSocket, log }),
    openRedis: (events) =>
      config.redisUrl === undefined
        ? undefined
        : openRedisChannel({
            ...events,
            url: config.redisUrl,
            installation: config.installation,
            router,
            incarnation,
            log,
          }),
    version: () => table?.version,
    onRoutes(frame) {
      const result = applyRoutes(table, frame, config.installation)
      if (result.kind !== 'applied') return result.kind
      serveFrom(result.table)
      store.keep(() => snapshotOf(table ?? result.table))
      return 'applied'
    },
    lingering: () => revisions.lingering(),
    slots: () => slots.held(),
    onSlots(frame) {
      const taken = slots.take(
        frame,
        () => revisions.slots(),
        (uid) => revisions.inUse(uid),
      )
      if (!taken) return
      if (taken.mustTell) tellHeld()
      revisions.share()
      slotsTold()
    },
    onAnswered: standAlone,
  })
  const reporting = startReporting({
    revisions,
    version: () => table?.version,
    send: (frame) => link.send(frame),
  })

  const accessLog = createAccessLog({
    sample: config.accessLogSample,
    write: lines && log.isLevelEnabled('info') ? (line) => lines.write(line) : undefined,
  })
  function record(line: AccessLine): void {
    metrics.observe(line)
    accessLog(line)
  }

  const context: ExchangeContext = {
    table: () => table,
    revisions,
    limits: config.limits,
    securePort: config.tls?.redirectTo,
    random: Math.random,
    onBegin: (exchange) => connections.begin(exchange),
    onEnd(exchange, line) {
      connections.end(exchange)
      record(line)
    },
  }
  const edgeParts = {
    context,
    connections,
    trustedProxies: config.trustedProxies,
    places: new ConnectionPlaces(config.limits),
    isDraining: () => draining,
    onRefused: record,
  }
  const admin = createAdminServer({
    notReady() {
      if (draining) return 'stopping'
      if (table === undefined) return 'no route table yet'
      return listening ? undefined : 'starting'
    },
    metrics: () => metrics.text(),
    metricsType: metrics.contentType,
  })
  const adminPort = await listenAt(admin, config.admin)
  const leaderIsLate = after(leaderAnswerMs)
  if (kept) await Promise.race([firstTable, leaderIsLate])
  serveKept()
  await Promise.race([toldSlots, leaderIsLate])
  standAlone()
  await Promise.race([firstTable, after(tableWaitMs)])
  const edge = await listenAtAll(config.edge, () => createEdgeServer(edgeParts))
  const certificates = config.tls && (await openCertificateFolder(config.tls.folder, log))
  const tlsEdge =
    certificates &&
    (await listenAtAll(config.tls?.places ?? [], () => createEdgeServer(edgeParts, certificates.current)))
  const servers = [...edge.servers, ...(tlsEdge?.servers ?? [])]
  const edgePorts = edge.ports
  const tlsPorts = tlsEdge?.ports ?? []
  listening = true
  log.info({ edgePorts, tlsPorts, adminPort, router }, 'router accepts requests')

  return {
    edgePorts,
    tlsPorts,
    adminPort,
    async stop() {
      draining = true
      admin.close()
      log.info({ inFlight: connections.exchanges.size }, 'router is stopping')
      const brokenOff = await stopServing({
        servers,
        connections,
        drainMs: config.drainMs,
        onLastRequest() {
          slots.stop()
          tellHeld()
        },
      })
      reporting.close()
      link.send({ kind: 'goodbye' })
      await link.close()
      await revisions.close()
      await store.settled()
      certificates?.close()
      log.info({ brokenOff }, 'router stopped')
    },
  }
}

/** For whoever sees the same process ids. */
function namedProcess(): HelloFrame['process'] {
  try {
    return { pid: process.pid, namespace: readlinkSync('/proc/self/ns/pid') }
  } catch {
    return undefined
  }
}

function after(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms).unref()
  })
}
