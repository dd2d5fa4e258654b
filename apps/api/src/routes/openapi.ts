import { problemView } from '@berth/contracts'
import { OpenAPIHono } from '@hono/zod-openapi'
import { z } from 'zod'
import { pathsOf } from './all-routes.ts'
import type { Documented, Route } from './route.ts'

const info = {
  title: 'Berth',
  version: '0.1.0',
  description:
    'Push an image, get a URL. Paths below `/projects/{project}` are canonical; the short form means the ' +
    "token's own project. Errors are RFC 9457 problems with a stable `code`.",
}

const problems = {
  description: 'A problem: see `code`',
  content: { 'application/problem+json': { schema: problemView } },
}

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

function requestOf(route: Route) {
  if (route.kind === 'read') return route.query === undefined ? {} : { query: route.query }
  const schema = route.documentedBody ?? route.body
  const type = route.method === 'patch' ? 'application/merge-patch+json' : 'application/json'
  const headers =
    route.method === 'post'
      ? z.object({ 'Idempotency-Key': z.string().optional() })
      : z.object({ 'If-Match': z.string().optional() })
  return { headers, ...(schema === undefined ? {} : { body: { content: { [type]: { schema } } } }) }
}

function paramsOf(path: string) {
  const names = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => [String(name), z.string()] as const)
  return names.length === 0 ? {} : { params: z.object(Object.fromEntries(names)) }
}

function responsesOf(answers: Documented['answers']) {
  const entries = Object.entries(answers).map(([status, { description, schema, contentType }]) => {
    const content =
      schema === undefined ? {} : { content: { [contentType ?? 'application/json']: { schema } } }
    return [status, { description, ...content }] as const
  })
  return Object.fromEntries(entries)
}
