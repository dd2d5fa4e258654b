import type { ServiceView } from '@berth/contracts'
import { schema } from '@berth/db'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { startApi, type StartedApi } from './testing/started-api.ts'

let api: StartedApi
beforeAll(async () => {
  api = await startApi(inject('postgresUrl'))
})
afterAll(() => api.stop())

const image = '127.0.0.1:5050/hello:1'

test('a new service is accepted with its deployment, and read back', async () => {
  const posted = await api.call('POST', '/services', {
    body: { name: 'hello', image, env: { A: 'b' }, memory: '128Mi', cpu: '500m' },
  })
  expect(posted.text).toContain('"name":"hello"')
  expect(posted.status).toBe(202)
  expect(posted.headers.location).toBe('/services/hello')
  const service = posted.json<ServiceView>()
  expect(posted.headers.etag).toBe(`"${service.uid}:1"`)
  expect(service).toMatchObject({
    name: 'hello',
    image,
    env: { A: 'b' },
    cpu: 0.5,
    memory: '128Mi',
    port: 8080,
    project: 'default',
    url: 'http://hello.localhost:8080',
    generation: 1,
    traffic: [{ revision: 'latest', percent: 100, tag: null }],
    status: {
      observedGeneration: 0,
      conditions: [{ type: 'Ready', status: 'Unknown', reason: 'Deploying' }],
      replicas: { desired: 0, running: 0, frozen: 0, parked: 0 },
    },
  })
  expect(service.deployment?.id).toMatch(/^dep-/)
  expect(api.wakes).toContainEqual({ service: service.uid, reason: 'created' })
  const read = await api.call('GET', '/services/hello')
  expect(read.json()).toEqual(service)
  const rows = await api.db.select().from(schema.services)
  expect(rows[0]?.env.includes('"A"')).toBe(false)
})
