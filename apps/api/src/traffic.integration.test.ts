import type { ServiceView } from '@berth/contracts'
import { insertRevision } from '@berth/db/testing'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { startApi, type StartedApi } from './testing/started-api.ts'

let api: StartedApi
const image = '127.0.0.1:5050/hello:1'

/** A service of which `hello-00001` was ready and `hello-00002` never. */
beforeAll(async () => {
  api = await startApi(inject('postgresUrl'))
  const posted = await api.call('POST', '/services', { body: { name: 'hello', image } })
  const { uid } = posted.json<ServiceView>()
  await insertRevision(api.db, { serviceUid: uid, number: 1, readyAt: new Date() })
  await insertRevision(api.db, { serviceUid: uid, number: 2 })
})
afterAll(() => api.stop())

const latest = (change: Record<string, unknown> = {}) => ({ revision: 'latest', percent: 100, ...change })

describe('traffic is refused', () => {
  test.each<[string, string, unknown]>([
    ['that sums to less', '', [latest({ percent: 99 })]],
    ['that sums to more', '', [latest(), { revision: 'hello-00001', percent: 1 }]],
    ['to nobody', '', []],
    ['of a negative share', '0.percent', [latest({ percent: -10 }), latest({ percent: 110 })]],
    ['of a share above 100', '0.percent', [latest({ percent: 101 })]],
    ['of a broken share', '0.percent', [1, 2, 3].map(() => latest({ percent: 33.3 }))],
    ['of a share in words', '0.percent', [latest({ percent: '100' })]],
    ['to an unknown revision', '0.revision', [{ revision: 'hello-00009', percent: 100 }]],
    ['to a revision of another service', '0.revision', [{ revision: 'other-00001', percent: 100 }]],
    ['to a revision that was never ready', '0.revision', [{ revision: 'hello-00002', percent: 100 }]],
    [
      'to one that was never ready beside others',
      '1.revision',
      [latest({ percent: 99 }), { revision: 'hello-00002', percent: 1 }],
    ],
    ['to no revision', '0.revision', [{ percent: 100 }]],
    [
      'with a tag twice',
      '1.tag',
      [latest({ tag: 'same' }), { revision: 'hello-00001', percent: 0, tag: 'same' }],
    ],
    ...['No', 'a_b', 'a.b', '-abc', 'abc-', 'ab--c', 'ab', '123', '', 'www', 'a'.repeat(21), 7].map(
      (tag): [string, string, unknown] => [`with the tag ${JSON.stringify(tag)}`, '0.tag', [latest({ tag })]],
    ),
    ['with a field of nobody', '0.weight', [latest({ weight: 1 })]],
  ])('%s', async (_what, path, body) => {
    const refused = await api.call('PUT', '/services/hello/traffic', { body })
    expect(refused.json()).toMatchObject({ status: 422, code: 'invalid-field' })
    const { errors } = refused.json<{ errors: { path: string }[] }>()
    expect(errors.map((error) => error.path)).toContain(path)
    const asField = await api.call('PATCH', '/services/hello', { body: { traffic: body } })
    expect(asField.status).toBe(422)
    expect((await api.call('GET', '/services/hello')).json()).toMatchObject({
      generation: 1,
      traffic: [latest({ tag: null })],
    })
  })
})

test('a tag may lead to a revision that was never ready, as long as nobody else is sent there', async () => {
  const body = [latest(), { revision: 'hello-00002', percent: 0, tag: 'broken' }]
  expect((await api.call('PUT', '/services/hello/traffic', { body })).status).toBe(202)
})

test.each(['hello-00009', 'hello-00002', 'latest', 'other-00001'])(
  'a rollback to %s is refused',
  async (revision) => {
    const refused = await api.call('POST', '/services/hello/rollback', { body: { revision } })
    expect(refused.json()).toMatchObject({ status: 422, errors: [{ path: 'revision' }] })
  },
)

test('of simultaneous PATCHes of different fields none is lost', async () => {
  await api.call('POST', '/services', { body: { name: 'busy', image } })
  const patches = [
    { maxScale: 7 },
    { env: { A: '1' } },
    { env: { B: '2' } },
    { labels: { team: 'a' } },
    { traffic: [latest({ tag: 'now' })] },
  ]
  const answers = await Promise.all(patches.map((body) => api.call('PATCH', '/services/busy', { body })))
  expect(answers.map(({ status }) => status)).toEqual(patches.map(() => 202))
  expect((await api.call('GET', '/services/busy')).json()).toMatchObject({
    generation: 6,
    maxScale: 7,
    env: { A: '1', B: '2' },
    labels: { team: 'a' },
    traffic: [latest({ tag: 'now' })],
  })
  const { items } = (await api.call('GET', '/services/busy/deployments')).json<{ items: unknown[] }>()
  expect(items).toHaveLength(3)
})
