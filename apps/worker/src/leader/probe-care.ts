import type { ProbeTemplate, ReplicaId } from '@berth/contracts'
import { writeReadiness } from '@berth/db'
import type { Logger } from 'pino'
import { askProbe, type Failure, type ProbeResult } from '../replicas/index.ts'
import type { AppRestarts } from './app-restarts.ts'
import type { Engines } from './engines.ts'
import type { RoutePublisher } from './ports.ts'
import { createProber } from './prober.ts'
import type { Keeper } from './replica-keeper.ts'
import type { RowWriter } from './row-writer.ts'
import type { ReplicaView } from './world-model.ts'
import type { Picture } from './world.ts'

export type ProbeCareOptions = {
  picture: Picture
  keeper: Pick<Keeper, 'busyWith'>
  restarts: Pick<AppRestarts, 'hung'>
  publisher: Pick<RoutePublisher, 'publish'>
  writer: RowWriter
  engines: Pick<Engines, 'host'>
  isFresh: () => boolean
  log: Logger
}

/**
 * Asks the probes of what serves: replicas that are not ready are taken out of the routes until they are again, and apps
 * that hang are restarted.
 */
export function careForProbes(options: ProbeCareOptions): { tick(): void } {
  const { picture, engines, publisher, writer, log } = options

  async function ask(replica: ReplicaView, probe: ProbeTemplate): Promise<ProbeResult | null> {
    const { address, hostPort, containers, nodeUid, revisionUid } = replica
    const node = picture.nodes.get(nodeUid)
    const host = node && engines.host(node)
    const containerPort = picture.revisions.get(revisionUid)?.template.containers[0]?.ports[0]?.port
    const { sandbox: sandboxId } = containers
    if (!host || containerPort === undefined || sandboxId === undefined) return null
    try {
      return await askProbe(host, probe, { address, hostPort, containerPort, sandboxId })
    } catch (error) {
      log.error({ err: error, replica: replica.id }, 'probe could not be asked')
      return null
    }
  }

  /** What it has in flight goes on; routers only send it nothing new. */
  function showReadiness(id: ReplicaId, failure: string | null): void {
    const replica = picture.replicas.get(id)
    if (replica === undefined) return
    const why: Failure | null = failure === null ? null : { reason: 'ProbeFailed', message: failure }
    picture.updateReplica(id, why ?? { reason: null, message: null })
    publisher.publish([replica.serviceUid])
    writer.write(id, 'readiness', (db, lease) => writeReadiness(db, lease, id, why))
    if (why) log.warn({ replica: id, why: why.message }, 'replica is not ready')
    else log.info({ replica: id }, 'replica is ready again')
  }

  function restartHung(id: ReplicaId, failure: string): void {
    const replica = picture.replicas.get(id)
    const message = `its liveness probe fails: ${failure}`
    if (replica !== undefined) options.restarts.hung(replica, { reason: 'LivenessFailed', message })
  }

  return createProber({
    picture,
    keeper: options.keeper,
    ask,
    isFresh: options.isFresh,
    onReadiness: showReadiness,
    onHung: restartHung,
    now: () => performance.now(),
    random: Math.random,
  })
}
