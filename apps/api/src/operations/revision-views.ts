import type { ReplicaView, RevisionView, ServiceEventView } from '@berth/contracts'
import type { desired } from '@berth/db'
import { fromTemplate } from './flat-spec.ts'

/** The environment is left out: it is the service's, and old values are nobody's business any more. */
export function revisionView(service: string, row: desired.RevisionRow): RevisionView {
  return {
    name: row.name,
    uid: row.uid,
    service,
    number: row.number,
    ...fromTemplate(row.template),
    imageDigest: row.imageDigest,
    architectures: row.architectures,
    createdAt: row.createdAt.toISOString(),
    readyAt: row.readyAt?.toISOString() ?? null,
    failure: row.failure,
  }
}

export function replicaView(
  service: string,
  { replica, revisionName, nodeName, containers }: desired.ReplicaPicture,
): ReplicaView {
  return {
    id: replica.id,
    service,
    revision: revisionName,
    node: nodeName,
    state: replica.state,
    rung: replica.rung,
    address: replica.address,
    port: replica.hostPort,
    containers,
    startedAt: replica.startedAt?.toISOString() ?? null,
    restarts: replica.restarts,
    reason: replica.reason,
    message: replica.message,
  }
}

export function serviceEventView(row: desired.ServiceEventRow): ServiceEventView {
  return {
    at: row.at.toISOString(),
    firstAt: row.firstAt.toISOString(),
    count: row.count,
    kind: row.kind,
    revision: row.revision,
    node: row.node,
    replica: row.replicaId,
    reason: row.reason,
    message: row.message,
  }
}
