import type { DeploymentId, Reason } from '@berth/contracts'
import { setTimeout as delay } from 'node:timers/promises'
import type { ResolvedImage, ServiceMemory } from './action.ts'

export type ImageOutcome =
  | { kind: 'resolved'; image: ResolvedImage }
  | { kind: 'failed'; reason: Reason; message: string }

/** A registry mostly answers within milliseconds: waiting for that saves a pass, waiting for longer holds others up. */
const defaultPatienceMs = 1_000

/**
 * Keeps what a registry is asked, and then its answer, in the memory of the service. Resolves with the answer, or after
 * `patienceMs` without it; `onLate` is called when it comes after that. An answer to a question that was replaced
 * meanwhile is dropped.
 */
export async function awaitImage(
  memory: ServiceMemory,
  question: { deployment: DeploymentId; generation: number; attempt: number },
  asked: Promise<ImageOutcome>,
  options: { now(): number; onLate(): void; patienceMs?: number },
): Promise<void> {
  const { deployment, generation, attempt } = question
  const asking = { deployment, generation, kind: 'asking' } as const
  memory.image = asking
  let late = false
  const noted = asked.then((outcome) => {
    if (memory.image !== asking) return
    memory.image =
      outcome.kind === 'resolved'
        ? { deployment, generation, ...outcome }
        : { deployment, generation, ...outcome, attempts: attempt, failedAtMs: options.now() }
    if (late) options.onLate()
  })
  const patience = new AbortController()
  const lateBy = delay(options.patienceMs ?? defaultPatienceMs, undefined, { signal: patience.signal })
  await Promise.race([noted, lateBy])
  late = true
  lateBy.catch(() => {})
  patience.abort()
}
