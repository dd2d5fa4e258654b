import type { ServiceUid } from '@berth/contracts'
import {
  acquireLease,
  forgetServiceLease,
  readReconcileSnapshot,
  releaseLease,
  renewLease,
  serviceLeaseName,
} from '@berth/db'
import type { Action, ServiceMemory } from './action.ts'
import { execute, type ExecutionContext } from './execute.ts'
import { plan } from './plan.ts'

export type PassContext = Omit<ExecutionContext, 'lease' | 'snapshot' | 'memory'> & { holder: string }

/** When to look again if nothing wakes the service before; null: not at all. */
export type PassResult = { lookAgainMs: number | null }

const leaseMs = 5_000
const renewEveryMs = 1_500
/** Every round ends in a wait or changes something; more rounds than this mean two writers disagree. */
const maxRounds = 20
const busyElsewhereMs = 1_000
const longestWaitMs = 5_000

/**
 * One reconcile pass: under the lease of the service observe, plan, act, and again until nothing is left but
 * waiting. Never waits itself. Throws `LeaseLostError` and errors of the store.
 */
export async function runPass(
  context: PassContext,
  service: ServiceUid,
  memory: ServiceMemory,
): Promise<PassResult> {
  const { db, holder, log } = context
  const lease = await acquireLease(db, serviceLeaseName(service), holder, leaseMs)
  if (!lease) return { lookAgainMs: busyElsewhereMs }
  const renewal = setInterval(() => {
    // A lease that could not be renewed is noticed by the next write.
    renewLease(db, lease, leaseMs).catch(() => {})
  }, renewEveryMs)
  try {
    for (let round = 0; round < maxRounds; round += 1) {
      const snapshot = await readReconcileSnapshot(db, service)
      if (!snapshot) {
        await forgetServiceLease(db, lease)
        return { lookAgainMs: null }
      }
      const now = snapshot.readAt.getTime()
      const actions = plan(snapshot, memory, now)
      for (const action of actions) await execute({ ...context, lease, snapshot, memory }, action)
      if (actions.every(isQuiet)) return { lookAgainMs: nextLook(actions, now) }
    }
    log.warn({ rounds: maxRounds }, 'reconcile pass did not come to rest')
    return { lookAgainMs: busyElsewhereMs }
  } finally {
    clearInterval(renewal)
    await releaseLease(db, lease).catch(() => {})
  }
}

function isQuiet({ kind }: Action): boolean {
  return kind === 'wait' || kind === 'set-condition'
}

function nextLook(actions: readonly Action[], now: number): number | null {
  const waits = actions.flatMap((action) => (action.kind === 'wait' ? [action.untilMs - now] : []))
  return waits.length === 0 ? null : Math.min(longestWaitMs, Math.max(0, Math.min(...waits)))
}
