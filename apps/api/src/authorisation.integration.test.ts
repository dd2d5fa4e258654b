import { desired } from '@berth/db'
import { insertService } from '@berth/db/testing'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { tokenHash } from './auth/token-secret.ts'
import { allRoutes, pathsOf } from './routes/all-routes.ts'
import { startApi, type StartedApi } from './testing/started-api.ts'

let api: StartedApi
const expired = 'berth_expired'
const revoked = 'berth_revoked'
const stranger = 'berth_of_another_project'

beforeAll(async () => {
  api = await startApi(inject('postgresUrl'))
  const project = await desired.findProject(api.db, 'default')
  const other = await desired.insertProjectRow(api.db, 'other')
  const token = (secret: string, projectUid: string, expiresAt: Date | null = null) =>
    desired.insertToken(api.db, {
      name: secret,
      scope: 'project',
      projectUid,
      hash: tokenHash(secret),
      expiresAt,
    })
  await token(expired, project?.uid ?? '', new Date(Date.now() - 1000))
  const { id } = await token(revoked, project?.uid ?? '')
  await desired.revokeToken(api.db, id)
  await token(stranger, other.uid)
  await insertService(api.db, { name: 'hello' })
})
afterAll(() => api.stop())

// The table needs no more of its context to be listed.
const context = { keyring: {}, domain: '', edgePort: 0, controlSocket: '' } as Parameters<typeof allRoutes>[0]
const targets = allRoutes(context).flatMap((route) =>
  pathsOf(route).map((path) => ({
    method: route.method.toUpperCase(),
    access: route.access,
    path: path
      .replace('{project}', 'default')
      .replace('{service}', 'hello')
      .replace(/\{\w+\}/g, 'some'),
    canonical: path.startsWith('/projects/{project}'),
  })),
)

test('the table has routes of both kinds', () => {
  expect(targets.filter(({ access }) => access === 'platform').length).toBeGreaterThan(10)
  expect(targets.filter(({ access }) => access === 'project').length).toBeGreaterThan(30)
})

describe.each(targets)('$method $path', ({ method, path, access, canonical }) => {
  test.each([
    ['no token', {}],
    ['an unknown token', { token: 'berth_unknown' }],
    ['an expired token', { token: expired }],
    ['a revoked token', { token: revoked }],
    ['another scheme', { headers: { authorization: 'Basic YTpi' } }],
  ])('answers 401 to %s', async (_who, options) => {
    const answer = await api.anonymous(method, path, options)
    expect(answer.status).toBe(401)
    expect(answer.headers['www-authenticate']).toContain('Bearer')
  })

  test("shows a token of another project nothing of this one's", async () => {
    const answer = await api.anonymous(method, path, { token: stranger })
    if (access === 'platform') expect(answer.status).toBe(403)
    else if (canonical) expect(answer.json()).toMatchObject({ status: 404, code: 'not-found' })
    else {
      // Its own project: the lists are empty, the rest is not there or not a good request.
      expect(answer.text).not.toContain('"name":"hello"')
      expect([200, 404, 422]).toContain(answer.status)
    }
  })
})

test('what the stranger tried changed nothing', async () => {
  expect((await api.call('GET', '/services/hello')).json()).toMatchObject({ generation: 1 })
})

test.each(['/healthz', '/readyz', '/openapi.json', '/docs', '/docs/swagger-ui.css'])(
  '%s answers without a token',
  async (path) => {
    expect((await api.anonymous('GET', path)).status).toBe(200)
  },
)

test('metrics are for platform tokens', async () => {
  expect((await api.anonymous('GET', '/metrics')).status).toBe(401)
  expect((await api.anonymous('GET', '/metrics', { token: stranger })).status).toBe(403)
  expect((await api.call('GET', '/metrics')).text).toContain('berth_api_request_seconds_count')
})

test('paths that do not exist look like all others without a token', async () => {
  expect((await api.anonymous('GET', '/nothing')).status).toBe(401)
})

test('a token works until it is revoked and not a request longer', async () => {
  const made = await api.call('POST', '/tokens', { body: { name: 'ci' } })
  expect(made.status).toBe(201)
  const { id, token } = made.json<{ id: string; token: string }>()
  expect((await api.anonymous('GET', '/services', { token })).status).toBe(200)
  const listed = await api.anonymous('GET', '/tokens', { token })
  expect(listed.text).not.toContain(token)
  expect(listed.json<{ items: { id: string }[] }>().items.map((item) => item.id)).toContain(id)
  expect((await api.call('DELETE', `/tokens/${id}`)).status).toBe(204)
  expect((await api.anonymous('GET', '/services', { token })).status).toBe(401)
  expect((await api.call('DELETE', `/tokens/${id}`)).status).toBe(404)
})

test('a project token makes no platform token and revokes none', async () => {
  const { token } = (await api.call('POST', '/tokens', { body: { name: 'ci' } })).json<{ token: string }>()
  const asked = await api.anonymous('POST', '/tokens', { token, body: { name: 'more', scope: 'platform' } })
  expect(asked.status).toBe(403)
  const all = (await api.call('GET', '/tokens')).json<{ items: { id: string; scope: string }[] }>()
  const first = all.items.find(({ scope }) => scope === 'platform')
  expect((await api.anonymous('DELETE', `/tokens/${first?.id}`, { token })).status).toBe(404)
})

test('nobody makes a token that lives longer than the own one', async () => {
  const expiresAt = new Date(Date.now() + 3_600_000).toISOString()
  const made = await api.call('POST', '/tokens', { body: { name: 'short', expiresAt } })
  const { token } = made.json<{ token: string }>()
  const later = new Date(Date.now() + 7_200_000).toISOString()
  for (const body of [{ name: 'x' }, { name: 'x', expiresAt: later }])
    expect((await api.anonymous('POST', '/tokens', { token, body })).status).toBe(422)
  expect((await api.anonymous('POST', '/tokens', { token, body: { name: 'x', expiresAt } })).status).toBe(201)
})
