import { hostLabel, type Reason, type ServiceView } from '@berth/contracts'
import { desired, type Condition } from '@berth/db'
import type { ApiContext } from '../context.ts'
import { decodeEnvironment, fromTemplate } from './flat-spec.ts'

/** The service as the API answers it, its environment opened. */
export function serviceView(
  context: ApiContext,
  project: string,
  { service, status, deploymentId, replicas }: desired.ServicePicture,
): ServiceView {
  const url = (tag: string | null) => serviceUrl(context, { service: service.name, project, tag })
  return {
    name: service.name,
    ...fromTemplate(service.template),
    env: openEnvironment(context, service),
    minScale: service.minScale,
    maxScale: service.maxScale,
    revisionHistoryLimit: service.revisionHistoryLimit,
    sessionAffinity: service.sessionAffinity,
    idle: service.idle,
    traffic: service.traffic,
    labels: service.labels,
    annotations: service.annotations,
    rollout: service.rollout,
    uid: service.uid,
    project,
    url: url(null),
    generation: service.generation,
    createdAt: service.createdAt.toISOString(),
    updatedAt: service.updatedAt.toISOString(),
    createdBy: service.createdBy,
    pinnedRevision: service.pinnedRevision,
    deployment: deploymentId === null ? null : { id: deploymentId },
    status: {
      observedGeneration: status?.observedGeneration ?? 0,
      conditions: conditionsOf(service, status),
      latestCreatedRevision: status?.latestCreatedRevision ?? null,
      latestReadyRevision: status?.latestReadyRevision ?? null,
      traffic: (status?.traffic ?? []).map((target) => ({ ...target, url: url(target.tag) })),
      replicas,
    },
  }
}

export function openEnvironment(context: ApiContext, service: desired.ServiceRow): Record<string, string> {
  if (service.env.length === 0) return {}
  return decodeEnvironment(context.keyring.openText(service.env, desired.serviceEnvPurpose(service.uid)))
}

/** `http://[<tag>---]<service>[--<project>].<domain>:<edge port>`, or https with the port of TLS where there is one. */
function serviceUrl(
  { domain, edgePort, tlsPort }: ApiContext,
  parts: { service: string; project: string; tag: string | null },
): string {
  const host = `${hostLabel(parts)}.${domain}`
  if (tlsPort !== undefined) return `https://${host}${tlsPort === 443 ? '' : `:${tlsPort}`}`
  return `http://${host}${edgePort === 80 ? '' : `:${edgePort}`}`
}

/** What the worker wrote; before it wrote anything, and while the service is deleted, our own words. */
function conditionsOf(service: desired.ServiceRow, status: desired.ServiceStatusRow | null): Condition[] {
  if (service.deletedAt !== null)
    return [ready('False', 'Deleting', 'The service is being deleted.', service.deletedAt)]
  if (status !== null && status.conditions.length > 0) return status.conditions
  return [ready('Unknown', 'Deploying', 'The first deployment is under way.', service.createdAt)]
}

function ready(status: Condition['status'], reason: Reason, message: string, since: Date): Condition {
  return { type: 'Ready', status, reason, message, lastTransitionTime: since.toISOString() }
}
