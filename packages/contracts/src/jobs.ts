import { z } from 'zod'

/** The one queue: reconcile one service. Ids and a reason only, never state; the worker reads again. */
export const reconcileQueue = 'reconcile'

export const reconcileReasons = [
  'created',
  'updated',
  'deleted',
  'cancelled',
  'swept',
  'node-changed',
  'replica-failed',
  'scale',
] as const
export type ReconcileReason = (typeof reconcileReasons)[number]

export const reconcileJob = z.strictObject({ service: z.string(), reason: z.enum(reconcileReasons) })
export type ReconcileJob = z.infer<typeof reconcileJob>

/** Postgres NOTIFY channel: payload is a service uid. A hint like the queue, for when Redis is away. */
export const serviceChangedChannel = 'berth_service_changed'
