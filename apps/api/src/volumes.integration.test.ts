import { desired, schema } from '@berth/db'
import { insertNode } from '@berth/db/testing'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { startApi, type StartedApi } from './testing/started-api.ts'

let api: StartedApi
beforeAll(async () => {
  api = await startApi(inject('postgresUrl'))
})
afterAll(() => api.stop())

const image = '127.0.0.1:5050/hello:1'
const data = { name: 'data', mountPath: '/data' }
const deploy = (name: string, volumes: unknown, more = {}) =>
  api.call('POST', '/services', { body: { name, image, maxScale: 1, volumes, ...more } })

/** As the first replica does it. */
async function place(name: string): Promise<void> {
  const { uid } = await insertNode(api.db, { name: `node-of-${name}` })
  await api.db.update(schema.volumes).set({ nodeUid: uid })
}

test('a service has its volumes, and they are shown with what they belong to', async () => {
  const made = await deploy('blog', [data])
  expect(made.status).toBe(202)
  expect(made.json()).toMatchObject({ volumes: [data] })
  expect((await api.call('GET', '/volumes/data')).json()).toMatchObject({
    name: 'data',
    project: 'default',
    service: 'blog',
    node: null,
    deleting: false,
  })
  expect((await api.call('GET', '/volumes')).json()).toMatchObject({ items: [{ name: 'data' }] })
  expect((await api.call('GET', '/volumes/other')).json()).toMatchObject({ status: 404 })
})

test('no other service gets them, and the refused one is not made', async () => {
  const refused = await deploy('thief', [{ name: 'other', mountPath: '/other' }, data])
  expect(refused.json()).toMatchObject({
    status: 422,
    errors: [{ path: 'volumes.1.name', message: 'the volume "data" belongs to the service "blog"' }],
  })
  expect((await api.call('GET', '/services/thief')).status).toBe(404)
  expect((await api.call('GET', '/volumes/other')).status).toBe(404)
})

test('another project has volumes of its own', async () => {
  await api.call('POST', '/projects', { body: { name: 'acme' } })
  const body = { name: 'blog', image, maxScale: 1, volumes: [data] }
  expect((await api.call('POST', '/projects/acme/services', { body })).status).toBe(202)
  expect((await api.call('GET', '/projects/acme/volumes/data')).json()).toMatchObject({ project: 'acme' })
})

test('one that is mounted is not deleted; without its service it is, and shown until it is gone', async () => {
  await place('blog')
  expect((await api.call('DELETE', '/volumes/data')).json()).toMatchObject({ status: 409, code: 'in-use' })
  await api.call('PATCH', '/services/blog', { body: { volumes: [] } })
  expect((await api.call('DELETE', '/volumes/data')).status).toBe(202)
  expect((await api.call('GET', '/volumes/data')).json()).toMatchObject({
    node: 'node-of-blog',
    deleting: true,
  })
  const again = await api.call('PATCH', '/services/blog', { body: { volumes: [data] } })
  expect(again.json()).toMatchObject({
    status: 422,
    errors: [{ path: 'volumes.0.name', message: 'the volume "data" is being deleted' }],
  })
})

test('a node on which volumes are stays until they are deleted', async () => {
  const refused = await api.call('DELETE', '/nodes/node-of-blog')
  expect(refused.json()).toMatchObject({
    status: 409,
    detail: 'The volume "data" is on the node "node-of-blog": delete it first.',
  })
  await api.db.update(schema.volumes).set({ deletedAt: new Date() })
  expect((await api.call('DELETE', '/nodes/node-of-blog')).status).toBe(202)
})

test('a project with volumes stays', async () => {
  await api.db.update(schema.services).set({ deletedAt: new Date() })
  const acme = await desired.findProject(api.db, 'acme')
  await api.db.transaction(async (tx) => {
    await tx.delete(schema.services)
    expect(await desired.deleteProject(tx, acme?.uid ?? '')).toBe('volumes')
  })
  expect((await api.call('DELETE', '/projects/acme')).json()).toMatchObject({
    status: 409,
    detail: 'The project "acme" still has volumes: delete them first.',
  })
})

describe('refused', () => {
  const at = (mountPath: unknown, name: unknown = 'data') => [{ name, mountPath }]

  test.each<[string, unknown, string]>([
    ['the root', at('/'), 'volumes.0.mountPath'],
    ['/proc', at('/proc'), 'volumes.0.mountPath'],
    ['inside /proc', at('/proc/self'), 'volumes.0.mountPath'],
    ['/etc', at('/etc'), 'volumes.0.mountPath'],
    ['/dev/shm', at('/dev/shm'), 'volumes.0.mountPath'],
    ['a relative path', at('data'), 'volumes.0.mountPath'],
    ['a way up', at('/data/../etc'), 'volumes.0.mountPath'],
    ['a dot', at('/data/./x'), 'volumes.0.mountPath'],
    ['a slash at the end', at('/data/'), 'volumes.0.mountPath'],
    ['a doubled slash', at('//etc'), 'volumes.0.mountPath'],
    ['a path with a colon', at('/data:rw'), 'volumes.0.mountPath'],
    ['a line break', at('/data\n/etc'), 'volumes.0.mountPath'],
    ['a long path', at(`/${'d'.repeat(255)}`), 'volumes.0.mountPath'],
    ['no path', [{ name: 'data' }], 'volumes.0.mountPath'],
    ['a name with dots', at('/data', '..'), 'volumes.0.name'],
    ['a path as a name', at('/data', '../../etc'), 'volumes.0.name'],
    ['an empty name', at('/data', ''), 'volumes.0.name'],
    ['a source on the host', [{ ...data, source: '/etc' }], 'volumes.0.source'],
    ['the same volume twice', [...at('/a'), ...at('/b')], 'volumes.1.name'],
    ['the same path twice', [...at('/a'), ...at('/a', 'more')], 'volumes.1.mountPath'],
    ['a path in another', [...at('/a'), ...at('/a/b', 'more')], 'volumes.1.mountPath'],
    ['a path around another', [...at('/a/b'), ...at('/a', 'more')], 'volumes.1.mountPath'],
    ['too many', Array.from({ length: 9 }, (_, n) => ({ name: `d${n}`, mountPath: `/d${n}` })), 'volumes'],
    ['no list', 'data', 'volumes'],
  ])('%s', async (_what, volumes, path) => {
    const answer = await deploy('refused', volumes)
    expect(answer.status).toBe(422)
    expect(answer.json<{ errors: { path: string }[] }>().errors.map((error) => error.path)).toContain(path)
  })

  test('more than one replica', async () => {
    const answer = await deploy('refused', [data], { maxScale: 2 })
    expect(answer.json()).toMatchObject({
      status: 422,
      errors: [{ path: 'maxScale', message: 'must be 1 for a service with volumes' }],
    })
  })
})
