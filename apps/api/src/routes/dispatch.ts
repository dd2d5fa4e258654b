import { desired, withTransaction, type Database } from '@berth/db'
import type { Context } from 'hono'
import type { ReadableStream } from 'node:stream/web'
import { z } from 'zod'
import { ApiError, notFound } from '../api-error.ts'
import { authenticate, isStillValid } from '../auth/authenticate.ts'
import type { Caller } from '../auth/caller.ts'
import { readJsonBody } from '../http/body-reader.ts'
import { parseBody, parseQuery } from '../http/parse-with.ts'
import type { ReconcileHints } from '../queue/reconcile-queue.ts'
import { checkIdempotencyKey, once } from './idempotency.ts'
import type { Answer, Route, UploadRoute, Wake, WriteRoute } from './route.ts'

export type ApiEnv = { Variables: { requestId: string } }
export type Dispatch = (route: Route, c: Context<ApiEnv>) => Promise<Response>

export type DispatchDeps = {
  db: Database
  hints: Pick<ReconcileHints, 'send'>
  /** Gives up on a database that says nothing. */
  guarded: <T>(work: Promise<T>) => Promise<T>
}

const nothing = z.strictObject({})
const parameter = /^[A-Za-z0-9][A-Za-z0-9._:-]{0,252}$/

/**
 * One request through its route: token, scope, project, query and body, then the operation, for writes in one
 * transaction with the idempotency key, and the wake after the commit. Throws what the edge turns into a problem.
 */
export function createDispatch({ db, hints, guarded }: DispatchDeps): Dispatch {
  return async (route, c) => {
    const { caller, project } = await guarded(admit(db, route, c))
    const head = {
      caller,
      project,
      prefix: c.req.param('project') === undefined ? '' : `/projects/${project.name}`,
      param: (name: string) => paramOf(c, name),
      header: (name: string) => c.req.header(name),
      requestId: c.get('requestId'),
    }
    for (const value of Object.values(c.req.param()))
      if (!parameter.test(value)) throw notFound('resource', value.slice(0, 64))
    const query = parseQuery((route.kind !== 'write' && route.query) || nothing, flatQuery(c))
    const { signal } = c.req.raw
    const stillValid = () => isStillValid(db, caller)
    if (route.kind === 'upload') {
      const body = uploadOf(route, c.req.raw)
      return toResponse(await route.handle({ ...head, query, db, stillValid, signal, body }))
    }
    if (route.kind === 'read') {
      const answer = await guarded(Promise.resolve(route.handle({ ...head, query, db, stillValid, signal })))
      return answer instanceof Response ? answer : toResponse(answer)
    }
    const ifMatch = ifMatchFor(route, c.req.header('if-match'))
    const body = bodyFor(route, await readJsonBody(c.req.raw))
    const answer = await guarded(
      withTransaction(db, async (tx) => {
        const work = () => route.handle({ ...head, body, tx, ifMatch })
        const key = route.method === 'post' ? c.req.header('idempotency-key') : undefined
        if (key === undefined) return await work()
        // The short and the canonical path are one route: `project` is in the scope already.
        const { project: _, ...params } = c.req.param()
        const name = `${route.method} ${route.path}`
        const scope = { projectUid: project.uid, route: name, key: checkIdempotencyKey(key) }
        return await once(tx, caller, scope, [params, body], work)
      }),
    )
    wake(answer.wake)
    return toResponse(answer)
  }

  /** After the commit and never waited for: the sweep finds whatever got lost. */
  function wake(hint: Wake | undefined): void {
    if (hint !== undefined) hints.send(hint.service, hint.reason)
  }
}

/** Throws `ApiError` unauthorized, forbidden, or not-found for a project that the token does not cover. */
async function admit(
  db: Database,
  route: Route,
  c: Context<ApiEnv>,
): Promise<{ caller: Caller; project: Caller['project'] }> {
  const caller = await authenticate(db, c.req.header('authorization'))
  // When it was last used is worth knowing, not worth waiting for.
  desired.touchToken(db, caller.tokenId).catch(() => {})
  if (route.access === 'platform') {
    if (caller.scope !== 'platform') throw new ApiError('forbidden', 'This needs a platform token.')
    return { caller, project: caller.project }
  }
  const name = c.req.param('project')
  if (name === undefined || name === caller.project.name) return { caller, project: caller.project }
  const found =
    caller.scope === 'platform' && parameter.test(name) ? await desired.findProject(db, name) : undefined
  if (found === undefined) throw notFound('project', name.slice(0, 64))
  return { caller, project: { uid: found.uid, name: found.name } }
}

/** A condition that nothing can check is never passed over in silence. */
function ifMatchFor(route: WriteRoute, header: string | undefined): string | undefined {
  if (header !== undefined && route.conditional !== true)
    throw new ApiError(
      'precondition-failed',
      'Nothing that this changes carries an ETag: leave If-Match out.',
    )
  return header
}

/** Throws `ApiError` unsupported-media-type or malformed-request. */
function uploadOf({ contentType }: UploadRoute, request: Request): ReadableStream<Uint8Array> {
  const type = request.headers.get('content-type')?.split(';')[0]?.trim().toLowerCase()
  if (type !== contentType)
    throw new ApiError('unsupported-media-type', `Send the body as Content-Type: ${contentType}.`)
  if (request.body === null) throw new ApiError('malformed-request', 'There is no body.')
  return request.body as ReadableStream<Uint8Array>
}

/** No body at all counts as `{}`, a body `null` does not. */
function bodyFor(route: WriteRoute, sent: unknown = {}): unknown {
  if (route.documentedBody !== undefined) return sent
  return parseBody(route.body ?? nothing, sent)
}

function flatQuery(c: Context): Record<string, string> {
  const entries = Object.entries(c.req.queries()).map(([name, values]) => {
    const [value, ...more] = values
    if (more.length > 0) throw new ApiError('invalid-query', `${name.slice(0, 64)}: is given twice.`)
    return [name, value ?? ''] as const
  })
  return Object.fromEntries(entries)
}

function paramOf(c: Context, name: string): string {
  const value = c.req.param(name)
  if (value === undefined) throw new Error(`the route has no parameter "${name}"`)
  return value
}

function toResponse({ status, headers, body }: Answer): Response {
  const shared = { 'cache-control': 'no-store', ...headers }
  if (body === undefined || status === 204) return new Response(null, { status, headers: shared })
  return new Response(JSON.stringify(body), {
    status,
    headers: { 'content-type': 'application/json', ...shared },
  })
}
