import type { ReconcileReason } from '@berth/contracts'
import type { Database, Transaction } from '@berth/db'
import type { ReadableStream } from 'node:stream/web'
import type { z } from 'zod'
import type { Caller } from '../auth/caller.ts'

/*
 * A route is data: the dispatcher checks the token, the project, the query and the body, opens the transaction
 * and maps the answer; OpenAPI and the authorisation tests are made from the same table.
 */

type Method = 'get' | 'post' | 'put' | 'patch' | 'delete'

/**
 * project   the short form `/services` means the token's own project, `/projects/{project}/services` any that it covers
 * platform  needs a platform token; has no project in its path
 */
export type Access = 'project' | 'platform'

/** Who must look at a service once the transaction has committed. */
export type Wake = { service: string; reason: ReconcileReason }

export type Answer = {
  status: number
  headers?: Record<string, string>
  body?: unknown
  wake?: Wake
}

type RequestHead = {
  caller: Caller
  /** The project in the path, else the token's own. */
  project: { uid: string; name: string }
  /** In front of paths of this request's resources: empty, or `/projects/<name>`. */
  prefix: string
  /** A parameter of the path; throws when the route has none of this name. */
  param: (name: string) => string
  header: (name: string) => string | undefined
  requestId: string
}

export type ReadRequest<Query> = RequestHead & {
  query: Query
  db: Database
  /** Whether the token is still valid; answers that stay open ask again and again. */
  stillValid: () => Promise<boolean>
  /** Aborts when the client has gone. */
  signal: AbortSignal
}
export type UploadRequest<Query> = ReadRequest<Query> & { body: ReadableStream<Uint8Array> }
export type WriteRequest<Body> = RequestHead & { body: Body; tx: Transaction; ifMatch: string | undefined }

export type Documented = {
  summary: string
  tag: string
  /** By status; problems are added for all routes. */
  answers: Record<number, DocumentedAnswer>
}

export type DocumentedAnswer = {
  description: string
  /** Of a body in JSON. */
  schema?: z.ZodType
  /** Of bodies of other types. */
  content?: Record<string, z.ZodType>
  headers?: readonly ('ETag' | 'Location')[]
}

export type ReadRoute = Documented & {
  kind: 'read'
  method: 'get'
  path: string
  access: Access
  query?: z.ZodObject
  /** Headers that it reads, for the documentation. */
  headers?: z.ZodObject
  handle(request: ReadRequest<unknown>): Promise<Answer | Response>
}

export type WriteRoute = Documented & {
  kind: 'write'
  method: Exclude<Method, 'get'>
  path: string
  access: Access
  /** Honours If-Match: what it changes carries an ETag. Everywhere else If-Match cannot hold and is refused. */
  conditional?: true
  /** Checked by the dispatcher. An absent body counts as `{}`. */
  body?: z.ZodType
  /** Shown in the documentation where the operation checks the body itself. */
  documentedBody?: z.ZodType
  /** Runs in one transaction together with the idempotency key; may run again after a conflict. */
  handle(request: WriteRequest<unknown>): Promise<Answer>
}

/** Takes a body of any length while it comes, so it runs in no transaction and knows no idempotency key. */
export type UploadRoute = Documented & {
  kind: 'upload'
  method: 'put'
  path: string
  access: Access
  /** Of the body. */
  contentType: string
  query?: z.ZodObject
  handle(request: UploadRequest<unknown>): Promise<Answer>
}

export type Route = ReadRoute | WriteRoute | UploadRoute

export function readRoute<Schema extends z.ZodObject>(
  route: Documented & {
    path: string
    access: Access
    query?: Schema
    headers?: z.ZodObject
    handle(request: ReadRequest<z.output<Schema>>): Promise<Answer | Response>
  },
): ReadRoute {
  return { ...route, kind: 'read', method: 'get' }
}

export function writeRoute<Schema extends z.ZodType>(
  route: Documented & {
    method: WriteRoute['method']
    path: string
    access: Access
    conditional?: true
    body?: Schema
    documentedBody?: z.ZodType
    handle(request: WriteRequest<z.output<Schema>>): Promise<Answer>
  },
): WriteRoute {
  return { ...route, kind: 'write' }
}

export function uploadRoute<Schema extends z.ZodObject>(
  route: Documented & {
    path: string
    access: Access
    contentType: string
    query?: Schema
    handle(request: UploadRequest<z.output<Schema>>): Promise<Answer>
  },
): UploadRoute {
  return { ...route, kind: 'upload', method: 'put' }
}
