/*
 * Every problem that the API or the router answers with. `code` is stable; `docs/errors.md` lists the same
 * codes and a test compares the two.
 */

type Entry = { status: number; title: string; retryable: boolean }

export const errorCatalogue = {
  // The request itself
  'malformed-request': { status: 400, title: 'The request is malformed', retryable: false },
  'malformed-json': { status: 400, title: 'The body is not acceptable JSON', retryable: false },
  'invalid-field': { status: 422, title: 'A field is not valid', retryable: false },
  'invalid-query': { status: 400, title: 'A query parameter is not valid', retryable: false },
  'request-incomplete': { status: 408, title: 'The request did not arrive in time', retryable: true },
  'body-too-large': { status: 413, title: 'The body is too large', retryable: false },
  'unsupported-media-type': { status: 415, title: 'The body must be JSON', retryable: false },
  'method-not-allowed': { status: 405, title: 'The method is not allowed here', retryable: false },
  'not-found': { status: 404, title: 'There is nothing here', retryable: false },
  'misdirected-host': { status: 421, title: 'The Host header names somebody else', retryable: false },
  // Who asks
  unauthorized: { status: 401, title: 'A valid token is needed', retryable: false },
  forbidden: { status: 403, title: 'The token does not allow this', retryable: false },
  // State of the resource
  'already-exists': { status: 409, title: 'The name is taken', retryable: false },
  'being-deleted': { status: 409, title: 'The resource is being deleted', retryable: true },
  conflict: { status: 409, title: 'The resource does not allow this now', retryable: false },
  'in-use': { status: 409, title: 'The resource is in use', retryable: false },
  'no-room': { status: 409, title: 'What runs there would not fit elsewhere', retryable: false },
  'precondition-failed': { status: 412, title: 'The resource has changed since', retryable: false },
  'idempotency-key-reused': {
    status: 422,
    title: 'The idempotency key was used for another request',
    retryable: false,
  },
  'idempotency-key-in-progress': {
    status: 409,
    title: 'The first request with this key still runs',
    retryable: true,
  },
  // The platform
  'store-unavailable': { status: 503, title: 'The database cannot be reached', retryable: true },
  'node-unavailable': { status: 503, title: 'The node does not answer', retryable: true },
  'no-space': { status: 507, title: "The node's disk is full", retryable: false },
  'worker-unavailable': { status: 503, title: 'No worker answers', retryable: true },
  internal: { status: 500, title: 'Something failed inside Berth', retryable: true },
  // The edge
  'unknown-host': { status: 404, title: 'No service has this host', retryable: false },
  'no-table': { status: 503, title: 'The router has no routes yet', retryable: true },
  'no-replica': { status: 503, title: 'No replica became ready in time', retryable: true },
  unplaceable: { status: 503, title: 'No node can take a replica', retryable: true },
  'revision-failed': { status: 503, title: 'The revision cannot start', retryable: true },
  'queue-full': { status: 503, title: 'Too many requests wait for this service', retryable: true },
  overloaded: { status: 429, title: 'Every replica is busy', retryable: true },
  'request-timeout': { status: 504, title: 'The service did not answer in time', retryable: true },
  'bad-gateway': { status: 502, title: 'The replica broke off', retryable: true },
  'https-only': { status: 308, title: 'The service is served over TLS only', retryable: false },
  'uri-too-long': { status: 414, title: 'The request target is too long', retryable: false },
  'headers-too-large': { status: 431, title: 'The request header is too large', retryable: false },
  'expectation-failed': { status: 417, title: 'The expectation cannot be met', retryable: false },
} as const satisfies Record<string, Entry>

export type ErrorCode = keyof typeof errorCatalogue

/**
 * Why a deployment failed or a service is not ready: `reason` of conditions, deployments and replicas. A terminal
 * reason ends a deployment at once, any other one is tried again until the deployment's deadline.
 */
export const reasonCatalogue = {
  Deploying: { terminal: false, meaning: 'A deployment is under way.' },
  Serving: { terminal: false, meaning: 'The service answers, or wakes on the next request.' },
  ImageNotFound: { terminal: true, meaning: 'The registry does not know the image or tag.' },
  ImagePullFailed: { terminal: false, meaning: 'A node could not pull the image.' },
  RegistryUnreachable: { terminal: false, meaning: 'The registry does not answer.' },
  RegistryAuthRequired: {
    terminal: true,
    meaning: 'The registry asks for a login that Berth does not have.',
  },
  RegistryRefused: { terminal: true, meaning: 'The registry host is not one Berth may talk to.' },
  RevisionExists: { terminal: true, meaning: 'A revision of that name has another content.' },
  ArchitectureMismatch: { terminal: true, meaning: 'The image is built for another processor.' },
  Unplaceable: { terminal: false, meaning: 'No node can take a replica; the message counts the refusals.' },
  StartFailed: { terminal: false, meaning: 'The engine could not start a container.' },
  AppCrashed: { terminal: false, meaning: 'The app ended while it was starting or serving.' },
  OutOfMemory: { terminal: false, meaning: 'The app used more memory than its limit.' },
  NotListening: { terminal: true, meaning: 'The app runs but does not listen on its port.' },
  ProbeFailed: { terminal: false, meaning: 'The readiness probe does not succeed.' },
  LivenessFailed: { terminal: false, meaning: 'The liveness probe fails, so the app is restarted.' },
  VolumeLost: { terminal: true, meaning: 'A volume is not on its node any more.' },
  NodeLost: { terminal: false, meaning: 'The node of a replica does not answer.' },
  DeadlineExceeded: { terminal: true, meaning: 'The deployment took longer than its deadline.' },
  Cancelled: { terminal: true, meaning: 'The user cancelled the deployment.' },
  Superseded: { terminal: true, meaning: 'A newer deployment took over.' },
  CrashLoop: { terminal: true, meaning: 'The new revision kept ending, so its traffic went back.' },
  ErrorRate: { terminal: true, meaning: 'The new revision failed requests; its traffic went back.' },
  RolloutAborted: { terminal: true, meaning: 'The rollout was aborted; what served before serves again.' },
  Deleting: { terminal: true, meaning: 'The service is being deleted.' },
  EngineError: { terminal: false, meaning: 'A Docker Engine answered with an error.' },
} as const satisfies Record<string, { terminal: boolean; meaning: string }>

export type Reason = keyof typeof reasonCatalogue

export function isTerminal(reason: Reason): boolean {
  return reasonCatalogue[reason].terminal
}

/** RFC 9457. `errors` names each bad field by its path, for example `idle.parkAfterSeconds`. */
export type Problem = {
  type: string
  title: string
  status: number
  code: ErrorCode
  detail: string
  requestId: string
  errors?: { path: string; message: string }[]
}

export const problemContentType = 'application/problem+json'

/** The body for `code`; `detail` is one sentence for the caller and carries nothing secret. */
export function problem(
  code: ErrorCode,
  detail: string,
  requestId: string,
  errors?: { path: string; message: string }[],
): Problem {
  const { status, title } = errorCatalogue[code]
  return {
    type: `urn:berth:error:${code}`,
    title,
    status,
    code,
    detail,
    requestId,
    ...(errors === undefined ? {} : { errors }),
  }
}

/** The same as a whole HTTP/1.1 message, for a connection on which no request could be read; it is closed after. */
export function problemMessage(
  code: ErrorCode,
  detail: string,
  requestId: string,
  headers: Readonly<Record<string, string>> = {},
): string {
  const body = JSON.stringify(problem(code, detail, requestId))
  const { status, title } = errorCatalogue[code]
  const fields = Object.entries({
    'content-type': problemContentType,
    'content-length': Buffer.byteLength(body),
    connection: 'close',
    ...headers,
  })
  const lines = [`HTTP/1.1 ${status} ${title}`, ...fields.map(([name, value]) => `${name}: ${value}`)]
  return `${lines.join('\r\n')}\r\n\r\n${body}`
}
