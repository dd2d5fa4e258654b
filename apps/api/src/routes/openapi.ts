import { problemView } from '@berth/contracts'
import { OpenAPIHono } from '@hono/zod-openapi'
import { z } from 'zod'
import { pathsOf } from './all-routes.ts'
import type { Documented, DocumentedAnswer, Route } from './route.ts'

const info = {
  title: 'Berth',
  version: '0.1.0',
  description:
    'Push an image, get a URL. Paths below `/projects/{project}` are canonical; the short form means the ' +
    "token's own project. Errors are RFC 9457 problems with a stable `code`.",
}

const problems = {
  description: 'A problem: see `code`',
  headers: { 'Retry-After': header('Seconds after which the same request may succeed') },
  content: { 'application/problem+json': { schema: problemView } },
}

const answerHeaders = {
  ETag: header('`"<uid>:<generation>"`; a change of status does not touch it'),
  Location: header('Path of what was made'),
} as const
const idempotencyKey = z.string().min(1).max(255).optional()
const ifMatch = z
  .string()
  .optional()
  .describe('An ETag, several, or `*`; answers 412 when none of them holds')

/** The OpenAPI 3.1 document of the route table. */
export function openApiDocument(routes: readonly Route[]): unknown {
  const app = new OpenAPIHono()
  const registry = app.openAPIRegistry
  registry.registerComponent('securitySchemes', 'token', { type: 'http', scheme: 'bearer' })
  for (const route of routes)
    for (const path of pathsOf(route)) {
      registry.registerPath({
        method: route.method,
        path,
        summary: route.summary,
        tags: [route.tag],
        security: [{ token: [] }],
        request: { ...paramsOf(path), ...requestOf(route) },
        responses: { ...responsesOf(route.answers), '4XX': problems, '5XX': problems },
      })
    }
  for (const [path, description] of Object.entries(openPaths))
    registry.registerPath({
      method: 'get',
      path,
      tags: ['Platform'],
      security: [],
      responses: { 200: { description } },
    })
  const document = app.getOpenAPI31Document({ openapi: '3.1.0', info })
  return { ...document, security: [{ token: [] }] }
}

const openPaths = {
  '/healthz': 'The process runs',
  '/readyz': 'The process can serve: 503 while the database cannot be reached',
  '/openapi.json': 'This document',
  '/docs': 'This document as a page',
} as const

function header(description: string) {
  return { description, schema: { type: 'string' as const } }
}

function requestOf(route: Route) {
  if (route.kind === 'read')
    return {
      ...(route.query === undefined ? {} : { query: route.query }),
      ...(route.headers === undefined ? {} : { headers: route.headers }),
    }
  if (route.kind === 'upload')
    return {
      ...(route.query === undefined ? {} : { query: route.query }),
      body: { content: { [route.contentType]: { schema: z.string().meta({ format: 'binary' }) } } },
    }
  const schema = route.documentedBody ?? route.body
  const type = route.method === 'patch' ? 'application/merge-patch+json' : 'application/json'
  const headers = z.object({
    ...(route.method === 'post' ? { 'Idempotency-Key': idempotencyKey } : {}),
    ...(route.conditional === true ? { 'If-Match': ifMatch } : {}),
  })
  return { headers, ...(schema === undefined ? {} : { body: { content: { [type]: { schema } } } }) }
}

function paramsOf(path: string) {
  const names = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => [String(name), z.string()] as const)
  return names.length === 0 ? {} : { params: z.object(Object.fromEntries(names)) }
}

function responsesOf(answers: Documented['answers']) {
  return Object.fromEntries(Object.entries(answers).map(([status, answer]) => [status, responseOf(answer)]))
}

function responseOf({ description, schema, content, headers = [] }: DocumentedAnswer) {
  const bodies = { ...(schema === undefined ? {} : { 'application/json': schema }), ...content }
  const types = Object.entries(bodies).map(([type, schema]) => [type, { schema }] as const)
  return {
    description,
    ...(headers.length === 0
      ? {}
      : { headers: Object.fromEntries(headers.map((name) => [name, answerHeaders[name]])) }),
    ...(types.length === 0 ? {} : { content: Object.fromEntries(types) }),
  }
}
