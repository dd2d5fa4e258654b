import { assertNever, reasonCatalogue, type ErrorCode, type Reason } from '@berth/contracts'
import type { Refusal } from '../admission/revision-queue.ts'
import type { UpstreamFailure } from '../upstream/upstream.ts'
import type { Refused } from './request-check.ts'

/** Every cause for which the router itself answers. */
export type Failure =
  | Refused
  | Refusal
  | { kind: 'no-table' }
  | { kind: 'unknown-host'; host: string }
  | { kind: 'unknown-revision' }
  | { kind: 'plain-http'; location: string }
  | { kind: 'body-too-large'; maxBytes: number }
  | { kind: 'timed-out'; timeoutMs: number }
  | { kind: 'upstream'; failure: UpstreamFailure }

/** `close`: the connection cannot be trusted any further. */
export type FailureAnswer = {
  code: ErrorCode
  detail: string
  retryAfterSeconds?: number
  location?: string
  close?: true
}

/** The one place where a cause becomes a status. The details say nothing about addresses inside. */
export function answerTo(failure: Failure): FailureAnswer {
  switch (failure.kind) {
    case 'refused':
      return { code: failure.code, detail: failure.detail, close: true }
    case 'no-table':
      return { code: 'no-table', detail: 'The router has just started.', retryAfterSeconds: 1 }
    case 'unknown-host':
      return { code: 'unknown-host', detail: `No service answers at ${failure.host}.` }
    case 'body-too-large':
      return {
        code: 'body-too-large',
        detail: `The service takes bodies of at most ${failure.maxBytes} bytes.`,
      }
    case 'plain-http':
      return {
        code: 'https-only',
        detail: 'The service is served over TLS only.',
        location: failure.location,
      }
    case 'unknown-revision':
    case 'withdrawn':
      return { code: 'no-replica', detail: 'The revision serves no longer.', retryAfterSeconds: 1 }
    case 'queue-full':
      if (failure.atMaxScale) return overloaded('The queue is full and every replica is busy.')
      return {
        code: 'queue-full',
        detail: 'The queue is full while replicas are starting.',
        retryAfterSeconds: 2,
      }
    case 'queue-deadline':
      if (failure.atMaxScale) return overloaded('No replica became free in time.')
      return { code: 'no-replica', detail: whyLate(failure.because), retryAfterSeconds: 5 }
    case 'blocked':
      return {
        code: failure.reason === 'Unplaceable' ? 'unplaceable' : 'revision-failed',
        detail: whyBlocked(failure),
        retryAfterSeconds: 10,
      }
    case 'timed-out':
      return { code: 'request-timeout', detail: `The service did not answer within ${failure.timeoutMs} ms.` }
    case 'upstream':
      return { code: 'bad-gateway', detail: upstreamDetails[failure.failure.kind] }
    default:
      return assertNever(failure)
  }
}

/** Whoever asks may be anybody: counted refusals say nothing of the app, other messages may quote what it printed. */
function whyBlocked({ reason, message }: { reason: string; message: string }): string {
  return reason === 'Unplaceable' ? `${reason}: ${message}` : withMeaning(reason)
}

function whyLate(reason: string | undefined): string {
  const late = 'No replica became ready in time'
  return reason === undefined ? `${late}.` : `${late}. ${withMeaning(reason)}`
}

function withMeaning(reason: string): string {
  const known = Object.hasOwn(reasonCatalogue, reason) ? reasonCatalogue[reason as Reason] : undefined
  return known === undefined ? reason : `${reason}: ${known.meaning}`
}

const upstreamDetails = {
  connect: 'The replica could not be reached.',
  exhausted: 'The router has no connection left.',
  died: 'The replica closed the connection before it answered.',
  protocol: 'The replica answered with something that is not HTTP.',
  refused: 'The replica broke the request off before it answered.',
} as const satisfies Record<UpstreamFailure['kind'], string>

function overloaded(detail: string): FailureAnswer {
  return { code: 'overloaded', detail, retryAfterSeconds: 1 }
}
