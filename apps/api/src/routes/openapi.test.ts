import { expect, test } from 'vitest'
import { allRoutes, pathsOf } from './all-routes.ts'
import { openApiDocument } from './openapi.ts'

type Operation = {
  summary?: string
  parameters?: { name: string; in: string }[]
  requestBody?: unknown
  responses: Record<string, { content?: Record<string, unknown> }>
}
type Document = {
  openapi: string
  paths: Record<string, Record<string, Operation>>
  components: { schemas: Record<string, { additionalProperties?: boolean; properties: object }> }
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
