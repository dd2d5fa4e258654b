import type { ProjectUid, ReconcileReason, ServiceUid, WorkerId } from '@berth/contracts'
import {
  LeaseLostError,
  listenForServiceChanges,
  listServicesBehind,
  StoreUnavailableError,
  type Database,
  type Keyring,
} from '@berth/db'
import type { RegistryAccess } from '@berth/engine'
import { restartBackoffMs } from '@berth/scheduler'
import type { Logger } from 'pino'
import { startReconcileConsumer } from '../queue/reconcile-queue.ts'
import type { ServiceMemory } from './action.ts'
import { runPass } from './pass.ts'

export type ReconcilerDeps = {
  db: Database
  /** For the connection that listens for changes. */
  databaseUrl: string
  redisUrl: string
  installation: string
  /** Who holds the leases of the passes; another one after every start. */
  worker: WorkerId
  keyring: Keyring
  /** Which registries may be asked for a project's images, and as whom. */
  registryAccess: (project: ProjectUid) => RegistryAccess
  log: Logger
}

export type Reconciler = {
  /** Reconciles the service soon. What comes while a pass runs leads to one more pass. */
  nudge(service: ServiceUid, reason: ReconcileReason): void
  /** Starts no more passes and waits for those under way. */
  close(): Promise<void>
}

type Entry = {
  memory: ServiceMemory
  again: boolean
  pass: Promise<void> | null
  timer: NodeJS.Timeout | null
  /** Passes in a row that failed with something that a later one may meet again. */
  failures: number
}

const passesAtOnce = 8
const retryMs = 1_000

/**
 * Reconciles services: one pass per service at a time in this process, and by its lease in the installation. Woken
 * by jobs, by notifications of the database, and by its own waits; at the start by everything that is behind.
 */
export function startReconciler(deps: ReconcilerDeps): Reconciler {
  const { db, log } = deps
  const entries = new Map<ServiceUid, Entry>()
  const waiting: (() => void)[] = []
  let running = 0
  let closed = false
  let failing = false

  function nudge(service: ServiceUid, reason: ReconcileReason): Promise<void> {
    if (closed) return Promise.resolve()
    const entry = entries.get(service) ?? { memory: {}, again: false, pass: null, timer: null, failures: 0 }
    entries.set(service, entry)
    // The sweep finds whatever is behind, every two seconds: it must not cut the back-off short.
    if (reason === 'swept' && entry.failures > 0 && entry.timer) return Promise.resolve()
    if (entry.timer) clearTimeout(entry.timer)
    entry.timer = null
    if (entry.pass) {
      entry.again = true
      return entry.pass
    }
    log.debug({ service, reason }, 'reconcile asked for')
    entry.pass = runUntilQuiet(service, entry)
    return entry.pass
  }

  async function runUntilQuiet(service: ServiceUid, entry: Entry): Promise<void> {
    let lookAgainMs: number | null = null
    await takeTurn()
    try {
      do {
        entry.again = false
        lookAgainMs = await passOnce(service, entry)
      } while (entry.again && entry.failures === 0 && !closed)
    } finally {
      giveTurn()
      entry.pass = null
    }
    if (closed) return
    if (lookAgainMs === null) {
      if (Object.keys(entry.memory).length === 0) entries.delete(service)
      return
    }
    entry.timer = setTimeout(() => {
      entry.timer = null
      void nudge(service, 'swept')
    }, lookAgainMs)
  }

  async function takeTurn(): Promise<void> {
    if (running < passesAtOnce) running += 1
    else await new Promise<void>((resolve) => void waiting.push(resolve))
  }

  function giveTurn(): void {
    const next = waiting.shift()
    if (next) next()
    else running -= 1
  }

  async function passOnce(service: ServiceUid, entry: Entry): Promise<number | null> {
    try {
      const context = {
        db,
        keyring: deps.keyring,
        registryAccess: deps.registryAccess,
        holder: deps.worker,
        onLate: () => void nudge(service, 'swept'),
        log: log.child({ service }),
      }
      const { lookAgainMs } = await runPass(context, service, entry.memory)
      failing = false
      entry.failures = 0
      return lookAgainMs
    } catch (error) {
      report(service, error)
      if (error instanceof LeaseLostError || error instanceof StoreUnavailableError) return retryMs
      entry.failures += 1
      return restartBackoffMs(entry.failures, 0)
    }
  }

  function report(service: ServiceUid, error: unknown): void {
    if (error instanceof LeaseLostError) log.info({ service }, 'reconcile pass lost its lease')
    else if (!(error instanceof StoreUnavailableError))
      log.error({ service, err: error }, 'reconcile pass failed')
    else if (!failing) {
      failing = true
      log.warn({ err: error }, 'reconcile passes fail without the database')
    }
  }

  async function nudgeAllBehind(): Promise<void> {
    try {
      for (const service of await listServicesBehind(db)) void nudge(service, 'swept')
    } catch (error) {
      log.warn({ err: error }, 'services that are behind could not be read')
    }
  }

  const changes = listenForServiceChanges(deps.databaseUrl, {
    onChange: (service) => void nudge(service as ServiceUid, 'updated'),
    onListening: () => void nudgeAllBehind(),
    onLost: (message) => log.warn({ cause: message }, 'notifications of the database are lost'),
  })
  const jobs = startReconcileConsumer(deps, nudge)

  return {
    nudge: (service, reason) => void nudge(service, reason),
    async close() {
      closed = true
      for (const { timer } of entries.values()) if (timer) clearTimeout(timer)
      await Promise.all([changes.close(), jobs.close()])
      await Promise.allSettled([...entries.values()].flatMap(({ pass }) => pass ?? []))
    },
  }
}
