import type { ServiceView } from '@berth/contracts'
import { desired } from '@berth/db'
import { insertRevision, insertService } from '@berth/db/testing'
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
      expect([200, 404, 415, 422]).toContain(answer.status)
    }
  })
})

/** Real things of the project `default`, under the names that paths give to their kinds. */
const owned: Record<string, string> = {
  service: 'owned',
  revision: 'owned-00001',
  host: 'owned.example',
  volume: 'owned-files',
}
let ownedToken = ''
beforeAll(async () => {
  const volumes = [{ name: 'owned-files', mountPath: '/files' }]
  const body = { name: 'owned', image: '127.0.0.1:5050/hello:1', maxScale: 1, volumes }
  const { uid, deployment } = (await api.call('POST', '/services', { body })).json<ServiceView>()
  owned['deployment'] = deployment?.id ?? ''
  await insertRevision(api.db, { serviceUid: uid, readyAt: new Date() })
  const made = await api.call('POST', '/tokens', { body: { name: 'owned' } })
  const { id, token } = made.json<{ id: string; token: string }>()
  owned['token'] = id
  ownedToken = token
  await api.call('PUT', '/registries/owned.example', { body: { username: 'a', password: 'b' } })
})

const bodies: Record<string, unknown> = {
  'patch /services/{service}': { minScale: 1 },
  'put /services/{service}/traffic': [{ revision: 'owned-00001', percent: 100 }],
  'post /services/{service}/rollback': { revision: 'owned-00001' },
}
/** PUT of a name that one's own project does not have makes it. */
const creates = new Set([
  'put /services/{service}',
  'put /registries/{host}',
  'put /volumes/{volume}/archive',
])
const ofOneThing = allRoutes(context)
  .filter(
    ({ access, path, method }) =>
      access === 'project' && path.includes('{') && !creates.has(`${method} ${path}`),
  )
  .map(({ method, path }) => ({ method: method.toUpperCase(), path, body: bodies[`${method} ${path}`] }))

test.each(ofOneThing)(
  '$method $path finds nothing that another project owns',
  async ({ method, path, body }) => {
    const real = path.replace(/\{(\w+)\}/g, (_, kind: string) => owned[kind] ?? 'missing')
    const options = body === undefined ? {} : { body }
    const answers = [
      await api.anonymous(method, real, { ...options, token: stranger }),
      await api.anonymous(method, `/projects/other${real}`, { ...options, token: stranger }),
      await api.anonymous(method, `/projects/default${real}`, { ...options, token: stranger }),
      await api.call(method, `/projects/other${real}`, options),
    ]
    for (const answer of answers) expect(answer.json()).toMatchObject({ status: 404, code: 'not-found' })
  },
)

test('a service of the same name in another project shows its own things only', async () => {
  const body = { name: 'owned', image: '127.0.0.1:5050/hello:1' }
  expect((await api.anonymous('POST', '/services', { token: stranger, body })).status).toBe(202)
  const list = await api.anonymous('GET', '/services/owned/deployments', { token: stranger })
  expect(list.json<{ items: unknown[] }>().items).toHaveLength(1)
  expect(list.text).not.toContain(owned['deployment'])
  for (const path of ['/services/owned/revisions/owned-00001', `/deployments/${owned['deployment']}`])
    expect((await api.anonymous('GET', path, { token: stranger })).status).toBe(404)
})

test('what another project owns is as it was', async () => {
  expect((await api.call('GET', '/services/owned')).json()).toMatchObject({
    generation: 1,
    pinnedRevision: null,
  })
  const [deployment] = await api.db
    .execute(`select phase, cancel_requested_at from deployments where id = '${owned['deployment']}'`)
    .then(({ rows }) => rows)
  expect(deployment).toEqual({ phase: 'queued', cancel_requested_at: null })
  expect((await api.anonymous('GET', '/services', { token: ownedToken })).status).toBe(200)
  expect((await api.call('GET', '/registries')).text).toContain('owned.example')
})

test('a token in the query is no token, and the log does not have it', async () => {
  const before = api.log.length
  for (const name of ['token', 'access_token', 'authorization'])
    expect((await api.anonymous('GET', `/services?${name}=${ownedToken}`)).status).toBe(401)
  expect((await api.call('GET', `/services?access_token=${ownedToken}`)).status).toBe(400)
  expect((await api.anonymous('GET', '/services', { token: ownedToken })).status).toBe(200)
  expect(api.log.length).toBeGreaterThan(before)
  expect(api.log.join('')).not.toContain(ownedToken)
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
