import { expect, test } from 'vitest'
import { allRoutes, pathsOf } from './all-routes.ts'
import { openApiDocument } from './openapi.ts'

type Operation = {
  summary?: string
  parameters?: { name: string; in: string }[]
  requestBody?: { content: Record<string, { schema: { $ref?: string } }> }
  responses: Record<string, { content?: Record<string, unknown>; headers?: Record<string, unknown> }>
}
type Document = {
  openapi: string
  paths: Record<string, Record<string, Operation>>
  components: {
    schemas: Record<string, { additionalProperties?: boolean; properties: object; required?: string[] }>
  }
}

// The table needs no more of its context to be listed.
const context = { keyring: {}, domain: '', edgePort: 0, controlSocket: '' } as Parameters<typeof allRoutes>[0]
const routes = allRoutes(context)
const document = openApiDocument(routes) as Document

test('the document is OpenAPI 3.1', () => {
  expect(document.openapi).toBe('3.1.0')
})

test.each(routes.flatMap((route) => pathsOf(route).map((path) => ({ method: route.method, path }))))(
  '$method $path is documented',
  ({ method, path }) => {
    const operation = document.paths[path]?.[method]
    expect(operation?.summary).toBeTruthy()
    const inPath = operation?.parameters?.filter((each) => each.in === 'path').map(({ name }) => name) ?? []
    expect(inPath).toEqual([...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name))
    const answers = Object.keys(operation?.responses ?? {})
    expect(answers.some((status) => status.startsWith('2'))).toBe(true)
    expect(answers).toContain('4XX')
    if (method === 'put' || method === 'patch') expect(operation?.requestBody).toBeDefined()
  },
)

test('what needs no token is documented too', () => {
  for (const path of ['/healthz', '/readyz', '/openapi.json', '/docs'])
    expect(document.paths[path]).toHaveProperty('get')
})

test('unknown fields are refused in the schemas as well', () => {
  expect(document.components.schemas['ServiceSpec']).toMatchObject({ additionalProperties: false })
  expect(document.components.schemas['ServiceSpec']?.properties).toHaveProperty('image')
})

const headersOf = (operation: Operation | undefined) =>
  operation?.parameters?.filter((each) => each.in === 'header').map(({ name }) => name) ?? []

test('If-Match stands where what changes carries a tag, Idempotency-Key at every POST', () => {
  const operationsWith = (name: string) =>
    routes
      .filter(({ path, method }) => headersOf(document.paths[path]?.[method]).includes(name))
      .map(({ path, method }) => `${method} ${path}`)
  expect(operationsWith('If-Match')).toEqual([
    'put /services/{service}',
    'patch /services/{service}',
    'delete /services/{service}',
    'put /services/{service}/traffic',
    'post /services/{service}/rollback',
    'patch /nodes/{node}',
    'delete /nodes/{node}',
    'post /nodes/{node}/cordon',
    'post /nodes/{node}/uncordon',
    'post /nodes/{node}/drain',
    'patch /pools/{pool}',
  ])
  const posts = routes.filter(({ method }) => method === 'post').map(({ path }) => `post ${path}`)
  expect(operationsWith('Idempotency-Key')).toEqual(posts)
})

test('answers carry their headers, and streams their types', () => {
  const { headers } = document.paths['/services']?.['post']?.responses['202'] ?? {}
  expect(Object.keys(headers ?? {})).toEqual(['ETag', 'Location'])
  expect(headersOf(document.paths['/deployments/{deployment}/events']?.['get'])).toEqual(['Last-Event-ID'])
  const { content } = document.paths['/services/{service}/logs']?.['get']?.responses['200'] ?? {}
  expect(Object.keys(content ?? {})).toEqual(['text/plain', 'text/event-stream'])
})

test('the limits of names and amounts are written down', () => {
  expect(document.components.schemas['ServiceSpec']?.properties).toMatchObject({
    name: { minLength: 3, maxLength: 50, pattern: expect.any(String) },
    cpu: {
      anyOf: [
        { minimum: 0.05, maximum: 64 },
        { type: 'string', pattern: expect.any(String) },
      ],
    },
    memory: { type: 'string', pattern: expect.any(String), description: '16Mi to 512Gi' },
  })
})

test('PUT needs no name in its body, POST does', () => {
  const required = (method: string, path: string) => {
    const body = document.paths[path]?.[method]?.requestBody?.content['application/json']
    const name = body?.schema.$ref?.split('/').at(-1) ?? ''
    return document.components.schemas[name]?.required
  }
  expect(required('put', '/services/{service}')).toEqual(['image'])
  expect(required('post', '/services')).toEqual(['name', 'image'])
})
