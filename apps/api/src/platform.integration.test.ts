import type { NodeView } from '@berth/contracts'
import { desired, schema } from '@berth/db'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { startApi, type StartedApi } from './testing/started-api.ts'

let api: StartedApi
beforeAll(async () => {
  api = await startApi(inject('postgresUrl'))
})
afterAll(() => api.stop())

const node = { name: 'n2', endpoint: 'tcp://127.0.0.2:2375' }
const tls = { ca: 'ca-pem', cert: 'cert-pem', key: 'key-pem' }

test('a node is registered, changed, cordoned, drained and removed', async () => {
  const body = { ...node, labels: { zone: 'b' }, capacity: { cpu: 2, memory: '4Gi' } }
  const made = await api.call('POST', '/nodes', { body })
  expect(made.status).toBe(202)
  expect(made.headers.location).toBe('/nodes/n2')
  expect(made.json()).toMatchObject({
    ...body,
    address: '127.0.0.2',
    pool: 'default',
    tls: false,
    scheduling: 'active',
    systemReserved: null,
    status: { reachability: 'down', reserved: { cpu: 0 }, replicas: 0 },
  })
  expect((await api.call('POST', '/nodes', { body })).json()).toMatchObject({ code: 'already-exists' })
  const patched = await api.call('PATCH', '/nodes/n2', {
    body: { labels: { disk: 'ssd', zone: null }, capacity: null, systemReserved: '1Gi' },
  })
  expect(patched.json()).toMatchObject({ labels: { disk: 'ssd' }, capacity: null, systemReserved: '1Gi' })
  for (const [verb, scheduling] of [
    ['cordon', 'cordoned'],
    ['drain', 'draining'],
    ['uncordon', 'active'],
  ]) {
    const answer = await api.call('POST', `/nodes/n2/${verb}`)
    expect(answer.status).toBe(202)
    expect(answer.json()).toMatchObject({ scheduling })
  }
  const headers = { 'if-match': made.headers.etag }
  expect((await api.call('PATCH', '/nodes/n2', { body: {}, headers })).status).toBe(412)
  expect((await api.call('DELETE', '/nodes/n2')).status).toBe(202)
  expect((await api.call('GET', '/nodes/n2')).json()).toMatchObject({ deleting: true })
  expect((await api.call('PATCH', '/nodes/n2', { body: {} })).json()).toMatchObject({ code: 'being-deleted' })
})

test("a node's keys are sealed and never returned", async () => {
  const body = { name: 'mtls', endpoint: 'tcp://node.internal:2376', address: '10.0.0.7', tls }
  const made = await api.call('POST', '/nodes', { body })
  expect(made.json()).toMatchObject({ tls: true, endpoint: body.endpoint })
  expect(made.text + (await api.call('GET', '/nodes')).text).not.toContain('pem')
  const { uid } = made.json<NodeView>()
  const row = (await api.db.select().from(schema.nodes)).find((each) => each.uid === uid)
  const opened = api.context.keyring.openText(row?.tls ?? Buffer.alloc(0), desired.nodeTlsPurpose(uid))
  expect(JSON.parse(opened)).toEqual(tls)
  const moved = await api.call('PATCH', '/nodes/mtls', { body: { endpoint: 'tcp://node2.internal:2376' } })
  expect(moved.json()).toMatchObject({ tls: true, endpoint: 'tcp://node2.internal:2376' })
  const bare = await api.call('PATCH', '/nodes/mtls', { body: { tls: null } })
  expect(bare.json()).toMatchObject({ status: 422, errors: [{ path: 'endpoint' }] })
})

test.each([
  ['endpoint', { endpoint: 'ssh://host' }],
  ['endpoint', { endpoint: 'tcp://10.0.0.7:2375', address: '10.0.0.7' }],
  ['endpoint', { endpoint: 'unix://relative' }],
  ['address', { address: '8.8.8.8' }],
  ['address', { address: '0.0.0.0' }],
  ['address', { address: 'n2.internal' }],
  ['address', { endpoint: 'tcp://node.internal:2376', tls }],
  ['pool', { pool: 'nowhere' }],
  ['name', { name: 'N2' }],
  ['labels.a b', { labels: { 'a b': '' } }],
  ['capacity.memory', { capacity: { cpu: 2, memory: '4' } }],
  ['capacity.cpu', { capacity: { cpu: 0, memory: '4Gi' } }],
  ['systemReserved', { systemReserved: 'much' }],
  ['tls.key', { tls: { ca: 'a', cert: 'b' } }],
  ['role', { role: 'gpu' }],
])('a node with a bad %s is refused: %j', async (path, change) => {
  const answer = await api.call('POST', '/nodes', { body: { ...node, name: 'bad', ...change } })
  expect(answer.json()).toMatchObject({ status: 422, errors: [{ path }] })
  expect((await api.call('GET', '/nodes/bad')).status).toBe(404)
})

test('pools are made and changed, and services may name them', async () => {
  const made = await api.call('POST', '/pools', { body: { name: 'fast', strategy: 'binpack' } })
  expect(made.status).toBe(201)
  expect(made.json()).toMatchObject({ name: 'fast', strategy: 'binpack', overcommitCpu: 10 })
  expect((await api.call('POST', '/pools', { body: { name: 'fast' } })).status).toBe(409)
  const changed = await api.call('PATCH', '/pools/fast', { body: { overcommitCpu: 2, labels: { a: 'b' } } })
  expect(changed.json()).toMatchObject({ strategy: 'binpack', overcommitCpu: 2, labels: { a: 'b' } })
  expect((await api.call('PATCH', '/pools/fast', { body: { overcommitCpu: 0 } })).status).toBe(422)
  expect((await api.call('PATCH', '/pools/slow', { body: {} })).status).toBe(404)
  expect((await api.call('GET', '/pools')).json<{ items: unknown[] }>().items).toHaveLength(2)
  const body = { name: 'speedy', image: 'hello', pool: 'fast' }
  expect((await api.call('POST', '/services', { body })).status).toBe(202)
})

test('projects are made and deleted, except the one that is always there', async () => {
  expect((await api.call('POST', '/projects', { body: { name: 'acme' } })).status).toBe(201)
  expect((await api.call('POST', '/projects', { body: { name: 'acme' } })).status).toBe(409)
  expect((await api.call('POST', '/projects', { body: { name: 'Admin' } })).status).toBe(422)
  const token = (await api.call('POST', '/projects/acme/tokens', { body: { name: 'ci' } })).json<{
    token: string
    project: string
  }>()
  expect(token.project).toBe('acme')
  expect((await api.anonymous('GET', '/projects/acme/services', { token: token.token })).status).toBe(200)
  expect((await api.call('DELETE', '/projects/acme')).status).toBe(204)
  expect((await api.anonymous('GET', '/services', { token: token.token })).status).toBe(401)
  expect((await api.call('GET', '/projects/acme/services')).status).toBe(404)
  expect((await api.call('DELETE', '/projects/default')).json()).toMatchObject({ code: 'conflict' })
})

test('registry credentials are write-only and sealed', async () => {
  const host = 'registry.example.com:5000'
  const put = (password: string) =>
    api.call('PUT', `/registries/${host}`, { body: { username: 'me', password } })
  expect((await put('first-password')).json()).toMatchObject({ host, username: 'me' })
  await put('second-password')
  const list = await api.call('GET', '/registries')
  expect(list.json<{ items: unknown[] }>().items).toHaveLength(1)
  expect(list.text).not.toContain('password')
  const [row] = await api.db.select().from(schema.registries)
  const purpose = desired.registryPasswordPurpose(row?.projectUid ?? '', host)
  expect(api.context.keyring.openText(row?.password ?? Buffer.alloc(0), purpose)).toBe('second-password')
  expect((await api.call('DELETE', `/registries/${host}`)).status).toBe(204)
  expect((await api.call('DELETE', `/registries/${host}`)).status).toBe(404)
})

test.each([
  ['Registry.Example.COM', 'registry.example.com'],
  ['index.docker.io', 'docker.io'],
  ['registry-1.docker.io', 'docker.io'],
])('credentials for %s are those of %s', async (name, host) => {
  const body = { username: 'me', password: 'secret' }
  expect((await api.call('PUT', `/registries/${name}`, { body })).json()).toMatchObject({ host })
  expect((await api.call('DELETE', `/registries/${name}`)).status).toBe(204)
  expect((await api.call('DELETE', `/registries/${host}`)).status).toBe(404)
})

test.each(['300.300.300.300', 'a:99999', 'a:b', 'a..b', 'a_b'])('%s is no registry', async (name) => {
  const answer = await api.call('PUT', `/registries/${name}`, { body: { username: 'a', password: 'b' } })
  expect(answer.json()).toMatchObject({ status: 422, errors: [{ path: 'host' }] })
})

test('every list pages', async () => {
  for (const path of ['/nodes', '/pools', '/projects', '/tokens', '/registries', '/services'])
    expect((await api.call('GET', `${path}?limit=1`)).json()).toHaveProperty('nextCursor')
})
