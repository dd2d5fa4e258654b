import type { Reason } from '@berth/contracts'

/**
 * What an engine or a registry did to us. `code` is stable:
 *
 * EngineUnreachable      nothing answers at the endpoint, or the connection broke
 * EngineTimeout          no answer within the deadline of the call
 * EngineTooOld           the engine speaks an API version below 1.41
 * InvalidEndpoint        the text of an endpoint is not one Berth may use
 * InvalidSpec            the engine refused what we asked for (400)
 * NotFound               no such container, network or image (404)
 * Conflict               the object is in a state that does not allow this (409)
 * NameConflict           the name belongs to something that is not what we asked for
 * PortTaken              the host port is in use on the node
 * SandboxDead            the sandbox whose network the app should join does not run
 * ImageNotFound          neither the engine nor the registry has the image
 * ImageCorrupt           the bytes are not those of the digest, or no image
 * ArchiveInvalid         what should be unpacked into a volume is no tar, or leads out of it
 * RegistryAuthRequired   the registry asks for a login that we do not have
 * RegistryUnreachable    the registry does not answer, or broke off
 * RegistryRefused        the registry host is not one Berth may talk to
 * PullStalled            no progress for 60 s
 * PullFailed             the engine reports a failed pull of another kind
 * NoSpace                the node's disk is full
 * ArchitectureMismatch   the image is built for another processor
 * EngineFailure          the engine answered with an error of its own (5xx)
 * VolumeLost             a volume with data is not on its node any more
 * Aborted                the caller's signal ended the call
 */
const catalogue = {
  EngineUnreachable: { retryable: true, reason: 'EngineError' },
  EngineTimeout: { retryable: true, reason: 'EngineError' },
  EngineTooOld: { retryable: false, reason: 'EngineError' },
  InvalidEndpoint: { retryable: false, reason: 'EngineError' },
  InvalidSpec: { retryable: false, reason: 'StartFailed' },
  NotFound: { retryable: false, reason: 'EngineError' },
  Conflict: { retryable: true, reason: 'EngineError' },
  NameConflict: { retryable: false, reason: 'EngineError' },
  PortTaken: { retryable: true, reason: 'StartFailed' },
  SandboxDead: { retryable: true, reason: 'StartFailed' },
  ImageNotFound: { retryable: false, reason: 'ImageNotFound' },
  ImageCorrupt: { retryable: true, reason: 'ImagePullFailed' },
  ArchiveInvalid: { retryable: false, reason: 'EngineError' },
  RegistryAuthRequired: { retryable: false, reason: 'RegistryAuthRequired' },
  RegistryUnreachable: { retryable: true, reason: 'RegistryUnreachable' },
  RegistryRefused: { retryable: false, reason: 'RegistryRefused' },
  PullStalled: { retryable: true, reason: 'ImagePullFailed' },
  PullFailed: { retryable: true, reason: 'ImagePullFailed' },
  NoSpace: { retryable: true, reason: 'ImagePullFailed' },
  ArchitectureMismatch: { retryable: false, reason: 'ArchitectureMismatch' },
  EngineFailure: { retryable: true, reason: 'EngineError' },
  VolumeLost: { retryable: false, reason: 'VolumeLost' },
  Aborted: { retryable: true, reason: 'EngineError' },
} as const satisfies Record<string, { retryable: boolean; reason: Reason }>

export type EngineErrorCode = keyof typeof catalogue

/**
 * `refused`: the engine said no, or never heard of it; nothing has changed.
 * `unknown`: the request may have taken effect: look by name before trying again.
 */
export type Outcome = 'refused' | 'unknown'

/** Every failure of this package apart from `LeaseLostError`. The message never carries values of variables. */
export class EngineError extends Error {
  readonly code: EngineErrorCode
  readonly outcome: Outcome

  constructor(code: EngineErrorCode, message: string, options: { outcome?: Outcome; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'EngineError'
    this.code = code
    this.outcome = options.outcome ?? 'refused'
  }

  /** Whether the same call may succeed later without anybody changing what was asked for. */
  get retryable(): boolean {
    return catalogue[this.code].retryable
  }

  /** How the failure is named to users: reason of conditions, deployments and replicas. */
  get reason(): Reason {
    return catalogue[this.code].reason
  }
}

/** The name belongs to something that differs from what was asked for; `differences` names the fields. */
export class NameConflictError extends EngineError {
  readonly differences: readonly string[]

  constructor(name: string, differences: readonly string[]) {
    super('NameConflict', `"${name}" exists on the node and differs in ${differences.join(', ')}`)
    this.name = 'NameConflictError'
    this.differences = differences
  }
}

/** Thrown by a fence: the lease under which a mutation was about to go out is over or too old. */
export class LeaseLostError extends Error {
  constructor(message = 'the lease is lost') {
    super(message)
    this.name = 'LeaseLostError'
  }
}

/** Whether `error` is an `EngineError`, of one of `codes` where any are given. */
export function isEngineError(error: unknown, ...codes: EngineErrorCode[]): error is EngineError {
  return error instanceof EngineError && (codes.length === 0 || codes.includes(error.code))
}
