import type { ServiceView } from '@berth/contracts'
import { insertRevision } from '@berth/db/testing'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { startApi, type StartedApi } from './testing/started-api.ts'

let api: StartedApi
beforeAll(async () => {
  api = await startApi(inject('postgresUrl'))
})
afterAll(() => api.stop())

const image = '127.0.0.1:5050/hello:1'
const node = { name: 'n2', endpoint: 'tcp://127.0.0.2:2375' }

const tagOf = async (path: string) => (await api.call('GET', path)).headers.etag
const withTag = (method: string, path: string, tag: string | undefined, body?: unknown) =>
  api.call(method, path, { headers: { 'if-match': tag }, ...(body === undefined ? {} : { body }) })

describe('a tag', () => {
  test('of a service is its uid and generation, and no change of status touches it', async () => {
    const posted = await api.call('POST', '/services', { body: { name: 'tagged', image } })
    const { uid } = posted.json<ServiceView>()
    expect(await tagOf('/services/tagged')).toBe(`"${uid}:1"`)
    await api.db.execute(
      `update service_status set observed_generation = 1, updated_at = now() where service_uid = '${uid}'`,
    )
    await api.db.execute(`update deployments set phase = 'pulling' where service_uid = '${uid}'`)
    const read = await api.call('GET', '/services/tagged')
    expect(read.json()).toMatchObject({ status: { observedGeneration: 1 } })
    expect(read.headers.etag).toBe(`"${uid}:1"`)
    const patched = await api.call('PATCH', '/services/tagged', { body: { minScale: 1 } })
    expect(patched.headers.etag).toBe(`"${uid}:2"`)
    expect(await tagOf('/services/tagged')).toBe(`"${uid}:2"`)
  })

  test('of a node is its uid and generation, and no change of status touches it', async () => {
    const made = await api.call('POST', '/nodes', { body: { ...node, name: 'tagged' } })
    const { uid } = made.json<{ uid: string }>()
    expect(made.headers.etag).toBe(`"${uid}:1"`)
    await api.db.execute(`insert into node_status (node_uid, reachability) values ('${uid}', 'ready')`)
    const read = await api.call('GET', '/nodes/tagged')
    expect(read.json()).toMatchObject({ status: { reachability: 'ready' } })
    expect(read.headers.etag).toBe(`"${uid}:1"`)
  })

  test('of a pool is its uid and generation', async () => {
    const made = await api.call('POST', '/pools', { body: { name: 'tagged' } })
    const { uid } = made.json<{ uid: string }>()
    expect(made.headers.etag).toBe(`"${uid}:1"`)
    const patched = await api.call('PATCH', '/pools/tagged', { body: { overcommitCpu: 3 } })
    expect(patched.json()).toMatchObject({ uid, generation: 2, overcommitCpu: 3 })
    expect(await tagOf('/pools/tagged')).toBe(`"${uid}:2"`)
  })
})

describe('a change that changes nothing keeps the tag', () => {
  test.each([{}, { labels: { a: 'b', gone: null } }, { strategy: 'binpack', overcommitCpu: 1.1 }])(
    'of a pool: %j',
    async (body) => {
      const spec = { name: 'kept', strategy: 'binpack', overcommitCpu: 1.1, labels: { a: 'b' } }
      await api.call('POST', '/pools', { body: spec })
      const tag = await tagOf('/pools/kept')
      const patched = await api.call('PATCH', '/pools/kept', { body })
      expect([patched.status, patched.headers.etag]).toEqual([200, tag])
    },
  )

  const tls = { ca: 'ca', cert: 'cert', key: 'key' }
  test.each([
    {},
    { labels: {} },
    { tls },
    { capacity: { memory: '4Gi', cpu: 2 }, systemReserved: '1Gi' },
    { scheduling: 'active', pool: 'default' },
  ])('of a node: %j', async (body) => {
    const endpoint = 'tcp://kept.internal:2376'
    const rest = { address: '10.0.0.7', tls, capacity: { cpu: 2, memory: '4096Mi' }, systemReserved: '1Gi' }
    await api.call('POST', '/nodes', { body: { name: 'kept', endpoint, ...rest } })
    const tag = await tagOf('/nodes/kept')
    const patched = await api.call('PATCH', '/nodes/kept', { body })
    expect([patched.status, patched.headers.etag]).toEqual([200, tag])
    const changed = await api.call('PATCH', '/nodes/kept', { body: { tls: { ...tls, key: 'newer' } } })
    expect(changed.status).toBe(202)
    await api.call('PATCH', '/nodes/kept', { body: { tls } })
  })

  test('of a node that is cordoned again', async () => {
    await api.call('POST', '/nodes', { body: { ...node, name: 'twice' } })
    const first = await api.call('POST', '/nodes/twice/cordon')
    const again = await api.call('POST', '/nodes/twice/cordon')
    expect([first.status, again.status]).toEqual([202, 200])
    expect(again.json()).toMatchObject({ scheduling: 'cordoned', generation: 2 })
  })
})

describe('If-Match', () => {
  beforeAll(async () => {
    const posted = await api.call('POST', '/services', { body: { name: 'guarded', image } })
    const { uid } = posted.json<ServiceView>()
    for (const number of [1, 2])
      await insertRevision(api.db, { serviceUid: uid, number, readyAt: new Date() })
    await api.call('POST', '/pools', { body: { name: 'guarded' } })
    await api.call('POST', '/nodes', { body: { ...node, name: 'guarded' } })
  })

  test.each<[string, string, string, unknown]>([
    ['PUT', '/services/guarded/traffic', '/services/guarded', [{ revision: 'guarded-00001', percent: 100 }]],
    ['POST', '/services/guarded/rollback', '/services/guarded', { revision: 'guarded-00002' }],
    ['PUT', '/services/guarded', '/services/guarded', { image, minScale: 1 }],
    ['PATCH', '/services/guarded', '/services/guarded', { minScale: 2 }],
    ['PATCH', '/pools/guarded', '/pools/guarded', { overcommitCpu: 2 }],
    ['PATCH', '/nodes/guarded', '/nodes/guarded', { labels: { a: 'b' } }],
    ['POST', '/nodes/guarded/drain', '/nodes/guarded', {}],
    ['DELETE', '/nodes/guarded', '/nodes/guarded', undefined],
    ['DELETE', '/services/guarded', '/services/guarded', undefined],
  ])('on %s %s lets the newest tag through and no other', async (method, path, tagged, body) => {
    const tag = await tagOf(tagged)
    for (const stale of [tag?.replace(/:\d+"$/, ':999"'), '"other:1"', `W/${tag}`, 'nonsense']) {
      const refused = await withTag(method, path, stale, body)
      expect(refused.json()).toMatchObject({ status: 412, code: 'precondition-failed' })
    }
    expect(await tagOf(tagged)).toBe(tag)
    const done = await withTag(method, path, `"other:1", ${tag}`, body)
    expect([200, 202]).toContain(done.status)
    expect(await tagOf(tagged)).not.toBe(tag)
  })

  test('lets one of two simultaneous changes through', async () => {
    await api.call('POST', '/services', { body: { name: 'raced', image } })
    for (let round = 1; round < 4; round += 1) {
      const tag = await tagOf('/services/raced')
      const answers = await Promise.all(
        [round * 2, round * 2 + 1].map((maxScale) => withTag('PATCH', '/services/raced', tag, { maxScale })),
      )
      expect(answers.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([202, 412])
      expect((await api.call('GET', '/services/raced')).json()).toMatchObject({ generation: round + 1 })
    }
  })

  test.each([
    ['POST', '/services', { name: 'never', image }],
    ['POST', '/tokens', { name: 'never' }],
    ['POST', '/projects', { name: 'never' }],
    ['PUT', '/registries/never.example', { username: 'a', password: 'b' }],
    ['DELETE', '/registries/never.example', undefined],
  ])('is refused where nothing carries a tag: %s %s', async (method, path, body) => {
    const answer = await withTag(method, path, '*', body)
    expect(answer.json()).toMatchObject({ status: 412, code: 'precondition-failed' })
    for (const list of ['/services', '/tokens', '/projects', '/registries'])
      expect((await api.call('GET', list)).text).not.toContain('never')
  })
})
