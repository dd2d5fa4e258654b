import { newId, type ReplicaId } from '@berth/contracts'
import { Keyring, leaderLeaseName, openDatabase, readLease } from '@berth/db'
import type { Logger } from 'pino'
import { openAdminServer } from './admin-server.ts'
import type { WorkerConfig } from './config.ts'
import { openControlServer } from './leader/control-server.ts'
import { lead, type Leading } from './leader/lead.ts'
import { startLeadership } from './leader/leadership.ts'
import { openRouterHub } from './leader/router-hub.ts'
import { startReconciler } from './reconcile/reconciler.ts'
import { openRouterRelay } from './redis/router-relay.ts'
import { registryAccessOf } from './registry-logins.ts'

const maxConnections = 20

export type Worker = {
  readonly adminPort: number
  isLeading(): boolean
  /** Stops everything in the reverse order of its start; fails with an `AggregateError` of what did not stop. */
  close(): Promise<void>
}

/** Opens everything a worker needs and starts it: reconciler, and leader when nobody else leads. */
export async function startWorker(config: WorkerConfig, log: Logger): Promise<Worker> {
  const closers: { name: string; close: () => Promise<unknown> }[] = []
  const opened = <T extends { close(): Promise<unknown> }>(name: string, part: T): T => {
    closers.push({ name, close: () => part.close() })
    return part
  }
  const worker = newId('WorkerId')
  let leads: Leading | undefined

  async function close(): Promise<void> {
    const failures: Error[] = []
    for (const { name, close } of closers.splice(0).toReversed())
      try {
        await close()
      } catch (error) {
        failures.push(new Error(`${name} did not close`, { cause: error }))
      }
    if (failures.length > 0) throw new AggregateError(failures, 'the worker did not stop cleanly')
  }

  try {
    const keyring = await Keyring.fromFile(config.masterKeyFile)
    const db = opened(
      'database',
      openDatabase(config.databaseUrl, { applicationName: 'berth-worker', maxConnections }),
    )
    const { installation, databaseUrl, redisUrl, hubSocket, controlSocket } = config
    const relay = opened('redis', openRouterRelay(redisUrl, installation, log))
    const hub = opened('router hub', await openRouterHub({ socketPath: hubSocket, relay, log }))
    const locate = (replica: ReplicaId) => leads?.locate(replica)
    const transfers = () => leads?.transfers
    opened('control server', await openControlServer({ socketPath: controlSocket, locate, transfers, log }))
    const registryAccess = registryAccessOf({
      db,
      keyring,
      platformRegistry: `127.0.0.1:${config.registryPort}`,
      allowedHosts: config.allowedRegistries,
    })
    const reconciler = opened(
      'reconciler',
      startReconciler({ db, databaseUrl, redisUrl, installation, worker, keyring, registryAccess, log }),
    )
    const leadership = opened(
      'leadership',
      startLeadership({
        db,
        worker,
        log,
        async lead(term) {
          try {
            await lead(
              {
                db,
                databaseUrl,
                installation,
                keyring,
                hub,
                hubSocket,
                controlSocket,
                registryAccess,
                log,

                domain: config.domain,
                networkCidr: config.networkCidr,
                busybox: config.busybox,
                redisHealthy: () => relay.healthy(),
                reconcile: (service) => reconciler.nudge(service, 'swept'),
                onLeading: (leading) => {
                  leads = leading
                },
              },
              term,
            )
          } finally {
            leads = undefined
          }
        },
      }),
    )

    async function isReady(): Promise<boolean> {
      if (leads !== undefined) return true
      if (leadership.isLeading()) return false
      const lease = await readLease(db, leaderLeaseName).catch(() => null)
      return lease !== null && lease.holder !== worker
    }
    const isLeading = () => leads !== undefined
    const admin = opened(
      'admin server',
      await openAdminServer({
        port: config.adminPort,
        isReady,
        isLeading,
        disks: () => leads?.disks() ?? [],
      }),
    )
    return { adminPort: admin.port, isLeading, close }
  } catch (error) {
    await close().catch((failure: unknown) => log.warn({ err: failure }, 'worker parts did not close'))
    throw error
  }
}
