import type { ServiceView } from '@berth/contracts'
import { schema } from '@berth/db'
import { insertRevision } from '@berth/db/testing'
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

const post = (name: string, more: Record<string, unknown> = {}, headers = {}) =>
  api.call('POST', '/services', { body: { name, image, ...more }, headers })
/** As the worker would write it. */
const routeTo = (uid: string, traffic: unknown) =>
  api.db.execute(
    `update service_status set traffic = '${JSON.stringify(traffic)}' where service_uid = '${uid}'`,
  )
const deploymentsOf = async (name: string) =>
  (await api.call('GET', `/services/${name}/deployments`)).json<{
    items: { id: string; trigger: string }[]
  }>().items

test('of two simultaneous POSTs of one name one is accepted and one refused', async () => {
  for (const name of ['twin-a', 'twin-b', 'twin-c']) {
    const answers = await Promise.all([post(name), post(name)])
    expect(answers.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([202, 409])
    expect(answers.find(({ status }) => status === 409)?.json()).toMatchObject({ code: 'already-exists' })
    expect(await deploymentsOf(name)).toHaveLength(1)
  }
})

test('PUT makes a service, then replaces its whole spec', async () => {
  const body = { image, env: { A: '1' }, concurrency: 3 }
  const made = await api.call('PUT', '/services/putter', { body })
  expect(made.status).toBe(202)
  expect(made.headers.location).toBe('/services/putter')
  const replaced = await api.call('PUT', '/services/putter', { body: { name: 'putter', image, minScale: 1 } })
  expect(replaced.status).toBe(202)
  expect(replaced.json()).toMatchObject({ generation: 2, env: {}, concurrency: 80, minScale: 1 })
  const other = await api.call('PUT', '/services/putter', { body: { name: 'other', image } })
  expect(other.json()).toMatchObject({ status: 422, errors: [{ path: 'name' }] })
})

test('a PUT that names a tag resolves it anew, one that names the same digest changes nothing', async () => {
  await api.call('PUT', '/services/tagged', { body: { image } })
  expect((await api.call('PUT', '/services/tagged', { body: { image } })).status).toBe(202)
  expect(await deploymentsOf('tagged')).toHaveLength(2)
  const pinned = `127.0.0.1:5050/hello@sha256:${'a'.repeat(64)}`
  await api.call('PUT', '/services/pinned', { body: { image: pinned } })
  const wakes = api.wakes.length
  const again = await api.call('PUT', '/services/pinned', { body: { image: pinned } })
  expect(again.status).toBe(200)
  expect(again.json()).toMatchObject({ generation: 1 })
  expect(api.wakes.length).toBe(wakes)
})

test('settings of the service change at once, fields of the template deploy', async () => {
  await post('patched', { env: { A: '1', B: '2' } })
  const patch = (body: unknown) => api.call('PATCH', '/services/patched', { body })
  const settled = await patch({
    maxScale: 5,
    revisionHistoryLimit: 3,
    sessionAffinity: 'cookie',
    labels: { team: 'a' },
    idle: { parkAfterSeconds: 'never' },
  })
  expect(settled.status).toBe(202)
  expect(settled.json()).toMatchObject({
    generation: 2,
    maxScale: 5,
    revisionHistoryLimit: 3,
    sessionAffinity: 'cookie',
    idle: { freezeAfterSeconds: 30, parkAfterSeconds: 'never' },
  })
  expect(await deploymentsOf('patched')).toHaveLength(1)
  const env = await patch({ env: { A: null, C: '3' } })
  expect(env.json()).toMatchObject({ generation: 3, env: { B: '2', C: '3' } })
  expect(await deploymentsOf('patched')).toHaveLength(2)
  expect((await patch({ env: { B: '2' }, maxScale: 5 })).status).toBe(200)
  expect((await patch({ maxScale: null })).json()).toMatchObject({ maxScale: 20 })
  expect((await patch({ image })).status).toBe(202)
  const deployments = await deploymentsOf('patched')
  expect(deployments.map(({ trigger }) => trigger)).toEqual(['update', 'update', 'create'])
  expect((await patch({ memory: '1' })).json()).toMatchObject({ errors: [{ path: 'memory' }] })
  expect((await patch({ nothing: 1 })).json()).toMatchObject({ errors: [{ path: 'nothing' }] })
  expect((await patch({ name: 'other' })).status).toBe(422)
  for (const body of [[1], 'null', '7']) expect((await patch(body)).json()).toMatchObject({ status: 422 })
})

test('names that every object has are names like any other', async () => {
  const odd = { constructor: 'a', toString: 'b', hasOwnProperty: 'c', valueOf: 'd' }
  expect((await post('odd-names', { env: odd, labels: odd, annotations: odd })).status).toBe(202)
  const read = (await api.call('GET', '/services/odd-names')).json<ServiceView>()
  for (const map of [read.env, read.labels, read.annotations])
    expect(new Map(Object.entries(map))).toEqual(new Map(Object.entries(odd)))
  const patch = { env: { constructor: null, toString: 'B' }, labels: { valueOf: null } }
  const patched = (await api.call('PATCH', '/services/odd-names', { body: patch })).json<ServiceView>()
  const { constructor: _, ...rest } = odd
  expect(new Map(Object.entries(patched.env))).toEqual(new Map(Object.entries({ ...rest, toString: 'B' })))
  expect(new Set(Object.keys(patched.labels))).toEqual(new Set(['constructor', 'hasOwnProperty', 'toString']))
  const plain = (await post('plain-names')).json<ServiceView>()
  expect([plain.env, plain.labels]).toEqual([{}, {}])
})

test('a service says what its app speaks, keeps it when something else changes, and takes no other word', async () => {
  expect((await post('plain')).json()).toMatchObject({ protocol: 'http1' })
  expect((await post('spoken', { protocol: 'h2c' })).json()).toMatchObject({ protocol: 'h2c' })
  const patched = await api.call('PATCH', '/services/spoken', { body: { port: 3000 } })
  expect(patched.json()).toMatchObject({ port: 3000, protocol: 'h2c' })
  const refused = await post('unspoken', { protocol: 'h3' })
  expect(refused.json()).toMatchObject({ status: 422, errors: [{ path: 'protocol' }] })
})

test('a probe may name another port than that of the service', async () => {
  const probes = {
    startupProbe: { tcpSocket: { port: 9090 } },
    readinessProbe: { httpGet: { path: '/', port: 9091 } },
    livenessProbe: { grpc: { port: 9092, service: 'app' } },
  }
  const made = await post('probed', { port: 3000, ...probes })
  expect(made.status).toBe(202)
  expect(made.json()).toMatchObject(probes)
})

test.each(['1.1Gi', '123.456M', '1000000.5k'])(
  'an amount of memory such as %s is no change to itself',
  async (memory) => {
    const name = `odd-${memory.toLowerCase().replace('.', '-')}`
    expect((await post(name, { memory })).status).toBe(202)
    const settled = await api.call('PATCH', `/services/${name}`, { body: { maxScale: 5 } })
    expect(settled.json()).toMatchObject({ generation: 2, maxScale: 5 })
    expect(await deploymentsOf(name)).toHaveLength(1)
    expect((await api.call('PATCH', `/services/${name}`, { body: { memory } })).status).toBe(200)
  },
)

test('a stale If-Match changes nothing', async () => {
  const etag = (await post('guarded')).headers.etag
  const patch = (match: string | undefined, minScale: number) =>
    api.call('PATCH', '/services/guarded', { body: { minScale }, headers: { 'if-match': match } })
  expect((await patch(etag, 1)).status).toBe(202)
  const stale = await patch(etag, 2)
  expect(stale.json()).toMatchObject({ status: 412, code: 'precondition-failed' })
  expect((await patch('*', 3)).status).toBe(202)
  const headers = { 'if-match': etag }
  expect((await api.call('DELETE', '/services/guarded', { headers })).status).toBe(412)
  expect((await api.call('PUT', '/services/not-there', { headers, body: { image } })).status).toBe(412)
  expect((await api.call('GET', '/services/guarded')).json()).toMatchObject({ generation: 3, minScale: 3 })
})

test('a deleted service is shown until it is gone, and its name is taken until then', async () => {
  const { uid } = (await post('doomed')).json<ServiceView>()
  const deleted = await api.call('DELETE', '/services/doomed')
  expect(deleted.status).toBe(202)
  expect(api.wakes).toContainEqual({ service: uid, reason: 'deleted' })
  expect((await api.call('DELETE', '/services/doomed')).status).toBe(202)
  const shown = (await api.call('GET', '/services/doomed')).json<ServiceView>()
  expect(shown.status.conditions).toMatchObject([{ status: 'False', reason: 'Deleting' }])
  for (const [method, path] of [
    ['POST', '/services'],
    ['PUT', '/services/doomed'],
    ['PATCH', '/services/doomed'],
  ] as const) {
    const answer = await api.call(method, path, { body: { name: 'doomed', image } })
    expect(answer.json()).toMatchObject({ status: 409, code: 'being-deleted' })
  }
  await api.db.execute(`delete from services where uid = '${uid}'`)
  expect((await api.call('GET', '/services/doomed')).status).toBe(404)
  expect((await api.call('DELETE', '/services/doomed')).status).toBe(404)
  expect((await post('doomed')).json<ServiceView>().uid).not.toBe(uid)
})

test('services are listed page by page in their own project', async () => {
  await api.call('POST', '/projects', { body: { name: 'acme' } })
  for (const name of ['page-b', 'page-a', 'page-c'])
    expect(
      (await api.call('POST', '/projects/acme/services', { body: { name, image } })).headers.location,
    ).toBe(`/projects/acme/services/${name}`)
  const names: string[] = []
  let cursor = ''
  for (let pages = 0; pages < 4; pages += 1) {
    const list = await api.call('GET', `/projects/acme/services?limit=2${cursor}`)
    const { items, nextCursor } = list.json<{ items: ServiceView[]; nextCursor: string | null }>()
    names.push(...items.map(({ name }) => name))
    expect(items[0]?.url).toBe(`http://${items[0]?.name}--acme.localhost:8080`)
    if (nextCursor === null) break
    cursor = `&cursor=${nextCursor}`
  }
  expect(names).toEqual(['page-a', 'page-b', 'page-c'])
  expect((await api.call('GET', '/services/page-a')).status).toBe(404)
  const taken = await api.call('DELETE', '/projects/acme')
  expect(taken.json()).toMatchObject({ status: 409, code: 'in-use' })
})

test('a rollback pins the revision before, and says so until the next deployment', async () => {
  const { uid } = (await post('rolled')).json<ServiceView>()
  const empty = await api.call('POST', '/services/rolled/rollback')
  expect(empty.json()).toMatchObject({ status: 409, code: 'conflict' })
  const readyAt = new Date()
  await insertRevision(api.db, { serviceUid: uid, number: 1, readyAt })
  await insertRevision(api.db, { serviceUid: uid, number: 2 })
  await insertRevision(api.db, { serviceUid: uid, number: 3, readyAt })
  const traffic = [{ revision: 'rolled-00003', percent: 100, tag: null }]
  await routeTo(uid, traffic)
  const back = await api.call('POST', '/services/rolled/rollback')
  expect(back.json()).toMatchObject({ pinnedRevision: 'rolled-00001', generation: 2 })
  expect(back.status).toBe(202)
  const never = await api.call('POST', '/services/rolled/rollback', { body: { revision: 'rolled-00002' } })
  expect(never.json()).toMatchObject({ status: 422, errors: [{ path: 'revision' }] })
  const gone = await api.call('POST', '/services/rolled/rollback', { body: { revision: 'rolled-00000' } })
  expect(gone.json()).toMatchObject({
    status: 422,
    errors: [
      {
        path: 'revision',
        message: 'is not a revision of the service; the newest 20 are kept, and those in use',
      },
    ],
  })
  const next = await api.call('PATCH', '/services/rolled', { body: { image } })
  expect(next.json()).toMatchObject({ pinnedRevision: null, generation: 3 })
})

test('traffic is split between revisions that exist, and tags get URLs', async () => {
  const { uid } = (await post('split')).json<ServiceView>()
  await insertRevision(api.db, { serviceUid: uid, number: 1, readyAt: new Date() })
  const put = (body: unknown) => api.call('PUT', '/services/split/traffic', { body })
  const targets = [
    { revision: 'latest', percent: 90 },
    { revision: 'split-00001', percent: 10, tag: 'canary' },
  ]
  const split = await put(targets)
  expect(split.status).toBe(202)
  expect(split.json()).toMatchObject({ generation: 2, traffic: [{ tag: null }, { tag: 'canary' }] })
  expect((await put(targets)).status).toBe(200)
  const traffic = [{ revision: 'split-00001', percent: 100, tag: 'canary' }]
  await routeTo(uid, traffic)
  expect((await api.call('GET', '/services/split')).json()).toMatchObject({
    status: { traffic: [{ url: 'http://canary---split.localhost:8080' }] },
  })
  expect((await put([{ revision: 'split-00009', percent: 100 }])).json()).toMatchObject({
    errors: [{ path: '0.revision' }],
  })
  expect((await put([{ revision: 'latest', percent: 50 }])).status).toBe(422)
  const two = [
    { revision: 'latest', percent: 50, tag: 'same' },
    { revision: 'latest', percent: 50, tag: 'same' },
  ]
  expect((await put(two)).json()).toMatchObject({ errors: [{ path: '1.tag' }] })
})
