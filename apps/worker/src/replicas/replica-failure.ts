import { EngineError, LeaseLostError } from '@berth/engine'
import { LeaseLostError as RowLeaseLostError, StoreError, SubnetsExhaustedError } from '@berth/db'
import type { Failure } from './replica-deps.ts'

/** Whether the caller is no longer the leader: such an error is never turned into an outcome. */
export function isLeaseLost(error: unknown): boolean {
  return error instanceof LeaseLostError || error instanceof RowLeaseLostError
}

/** The outcome for what an engine, a registry or the database did. Rethrows what is none of these. */
export function failureOf(error: unknown): Failure {
  if (isLeaseLost(error)) throw error
  if (error instanceof EngineError) return { reason: error.reason, message: error.message }
  if (error instanceof SubnetsExhaustedError) return { reason: 'StartFailed', message: error.message }
  if (error instanceof StoreError) return { reason: 'StartFailed', message: error.message }
  throw error
}
