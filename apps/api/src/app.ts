import { databaseAnswers, type Database } from '@berth/db'
import { Hono } from 'hono'
import { randomUUID } from 'node:crypto'
import type { Logger } from 'pino'
import { ApiError } from './api-error.ts'
import { authenticate } from './auth/authenticate.ts'
import type { ApiContext } from './context.ts'
import { isOwnHost } from './http/host-check.ts'
import { problemAnswer, toApiError } from './http/problem-answer.ts'
import { createMetrics } from './observability/metrics.ts'
import type { ReconcileHints } from './queue/reconcile-queue.ts'
import { allRoutes, pathsOf } from './routes/all-routes.ts'
import { addDocsPage } from './routes/docs-page.ts'
import { createDispatch, type ApiEnv } from './routes/dispatch.ts'
import { openApiDocument } from './routes/openapi.ts'
import { storeGuard } from './store/store-guard.ts'

export type ApiDeps = {
  context: ApiContext
  db: Database
  /** A connection of its own, to tell a slow statement from a database that is gone. */
  probe: Database
  hints: Pick<ReconcileHints, 'send'>
  log: Logger
  /** Whether what has to be done at the start is done. */
  started: () => boolean
}

const requestIdPattern = /^[A-Za-z0-9._-]{1,64}$/

/** The HTTP application; it opens nothing and reads no environment. */
export function createApi({ context, db, probe, hints, log, started }: ApiDeps): Hono<ApiEnv> {
  const app = new Hono<ApiEnv>()
  const metrics = createMetrics()
  const guarded = storeGuard(() => databaseAnswers(probe))
  const dispatch = createDispatch({ db, hints, guarded })
  const routes = allRoutes(context)

  app.use('*', async (c, next) => {
    const begun = performance.now()
    const sent = c.req.header('x-request-id') ?? ''
    const requestId = requestIdPattern.test(sent) ? sent : randomUUID()
    c.set('requestId', requestId)
    if (isOwnHost(c.req.header('host'))) await next()
    else
      c.res = problemAnswer(
        new ApiError('misdirected-host', 'This API answers as localhost or a loopback address only.'),
        requestId,
      )
    c.res.headers.set('x-request-id', requestId)
    const ms = Math.round((performance.now() - begun) * 10) / 10
    const route = c.req.routePath
    metrics.observe({ method: c.req.method, route, status: c.res.status }, ms / 1000)
    log.info({ requestId, method: c.req.method, path: c.req.path, status: c.res.status, ms }, 'answered')
  })

  app.onError((error, c) => {
    const refusal = toApiError(error)
    if (refusal.code === 'internal') log.error({ err: error, requestId: c.get('requestId') }, 'failed')
    return problemAnswer(refusal, c.get('requestId'))
  })

  app.get('/healthz', (c) => c.json({ status: 'ok' }))
  app.get('/readyz', async (c) => {
    const ready = started() && (await guarded(databaseAnswers(db)))
    if (!ready) throw new ApiError('store-unavailable', 'The database cannot be reached yet.')
    return c.json({ status: 'ready' })
  })
  app.get('/metrics', async (c) => {
    const caller = await guarded(authenticate(db, c.req.header('authorization')))
    if (caller.scope !== 'platform') throw new ApiError('forbidden', 'This needs a platform token.')
    return c.body(await metrics.text(), 200, { 'content-type': metrics.contentType })
  })
  const document = JSON.stringify(openApiDocument(routes))
  app.get('/openapi.json', (c) => c.body(document, 200, { 'content-type': 'application/json' }))
  addDocsPage(app)

  const methods = new Map<string, string[]>()
  for (const route of routes)
    for (const path of pathsOf(route)) {
      const pattern = path.replace(/\{(\w+)\}/g, ':$1')
      app.on(route.method.toUpperCase(), pattern, (c) => dispatch(route, c))
      methods.set(pattern, [...(methods.get(pattern) ?? []), route.method.toUpperCase()])
    }
  for (const [pattern, allowed] of methods)
    app.all(pattern, async (c) => {
      await guarded(authenticate(db, c.req.header('authorization')))
      throw new ApiError('method-not-allowed', `Allowed here: ${allowed.join(', ')}.`, {
        headers: { allow: allowed.join(', ') },
      })
    })
  app.all('*', async (c) => {
    await guarded(authenticate(db, c.req.header('authorization')))
    throw new ApiError('not-found', 'There is nothing here; /docs lists what there is.')
  })
  return app
}
