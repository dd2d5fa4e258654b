import { setTimeout as delay } from 'node:timers/promises'
import {
  acquireLease,
  type Database,
  leaderLeaseName,
  type LeaseRef,
  releaseLease,
  renewLease,
} from '@berth/db'
import { type Fence, LeaseLostError } from '@berth/engine'

const leaseMs = 10_000
const renewEveryMs = 2_000
/** Less than `leaseMs`: by then nobody else can have the lease. */
const fenceMs = 8_000
/** A worker that was killed keeps its lease for five seconds more. */
const patienceMs = 8_000
const retryMs = 250

/**
 * Runs `work` in the place of a leading worker, under the lease that they share, so that no worker of another
 * machine acts meanwhile. Null when one of those leads: then the containers are in its care.
 */
export async function leadWhile<Value>(
  db: Database,
  holder: string,
  work: (fence: Fence) => Promise<Value>,
  waitMs = patienceMs,
): Promise<Value | null> {
  const taken = await take(db, holder, waitMs)
  if (taken === null) return null
  const { lease } = taken
  let { renewedAt } = taken
  const renew = async () => {
    const askedAt = performance.now()
    if (await renewLease(db, lease, leaseMs)) renewedAt = askedAt
  }
  const renewal = setInterval(() => void renew().catch(() => undefined), renewEveryMs)
  const fence = {
    check() {
      if (performance.now() - renewedAt > fenceMs) throw new LeaseLostError()
    },
  }
  try {
    return await work(fence)
  } finally {
    clearInterval(renewal)
    await releaseLease(db, lease).catch(() => undefined)
  }
}

async function take(
  db: Database,
  holder: string,
  waitMs: number,
): Promise<{ lease: LeaseRef; renewedAt: number } | null> {
  const deadline = performance.now() + waitMs
  for (;;) {
    const renewedAt = performance.now()
    const lease = await acquireLease(db, leaderLeaseName, holder, leaseMs)
    if (lease !== null) return { lease, renewedAt }
    if (performance.now() > deadline) return null
    await delay(retryMs)
  }
}
