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

const image = `127.0.0.1:5050/hello@sha256:${'a'.repeat(64)}`

const post = (name: string, more: Record<string, unknown> = {}) =>
  api.call('POST', '/services', { body: { name, image, ...more } })
const patch = (name: string, body: unknown) => api.call('PATCH', `/services/${name}`, { body })

/** The suffixes that deployments of the service ask for, oldest first. */
async function suffixesOf(serviceUid: string): Promise<(string | null)[]> {
  const rows = await api.db.select().from(schema.deployments)
  return rows
    .filter((row) => row.serviceUid === serviceUid)
    .toSorted((a, b) => a.generation - b.generation)
    .map(({ revisionSuffix }) => revisionSuffix)
}

/** As the worker would make it of the service as it is now. */
async function madeRevision(service: ServiceView, suffix: string, number: number) {
  const services = await api.db.select().from(schema.services)
  const template = services.find(({ uid }) => uid === service.uid)?.template
  if (template === undefined) throw new Error('the service is not there')
  const revision = await insertRevision(api.db, {
    serviceUid: service.uid,
    number,
    name: `${service.name}-${suffix}`,
    template,
    readyAt: new Date(),
  })
  const env = api.context.keyring.seal(JSON.stringify(service.env), `revision:${revision.uid}:env`)
  await api.db.execute(`update revisions set env = '\\x${env.toString('hex')}' where uid = '${revision.uid}'`)
}

async function nowLatest(service: ServiceView, name: string) {
  const traffic = [{ revision: name, percent: 100, tag: null }]
  await api.db.execute(
    `update service_status set traffic = '${JSON.stringify(traffic)}', latest_ready_revision = '${name}'
     where service_uid = '${service.uid}'`,
  )
}

test('a suffix names the revision of its own request and of no later one', async () => {
  const posted = await post('colours', { revisionSuffix: 'blue' })
  expect(posted.status).toBe(202)
  const { uid } = posted.json<ServiceView>()
  expect(posted.json()).not.toHaveProperty('revisionSuffix')
  expect((await patch('colours', { revisionSuffix: 'green', env: { A: '1' } })).status).toBe(202)
  expect((await patch('colours', { env: { A: '2' } })).status).toBe(202)
  expect((await patch('colours', { revisionSuffix: null, env: { A: '3' } })).status).toBe(202)
  expect((await patch('colours', { minScale: 1 })).status).toBe(202)
  expect(await suffixesOf(uid)).toEqual(['blue', 'green', null, null])
})

test('a new suffix deploys although nothing else is new', async () => {
  const { uid } = (await post('renamed')).json<ServiceView>()
  expect((await patch('renamed', { revisionSuffix: 'blue' })).status).toBe(202)
  expect(await suffixesOf(uid)).toEqual([null, 'blue'])
})

test('the suffix of a revision with the same content changes nothing while that is the latest', async () => {
  const service = (await post('same', { revisionSuffix: 'blue', env: { A: '1' } })).json<ServiceView>()
  await madeRevision(service, 'blue', 1)
  await nowLatest(service, 'same-blue')
  expect((await patch('same', { revisionSuffix: 'blue' })).status).toBe(200)
  await nowLatest(service, 'same-00002')
  expect((await patch('same', { revisionSuffix: 'blue' })).status).toBe(202)
})

test.each([
  ['template', { concurrency: 7 }],
  ['environment', { env: { A: '2' } }],
])('the suffix of a revision with another %s is refused by name', async (what, change) => {
  const name = `other-${what}`
  const service = (await post(name, { revisionSuffix: 'blue', env: { A: '1' } })).json<ServiceView>()
  await madeRevision(service, 'blue', 1)
  const refused = await patch(name, { revisionSuffix: 'blue', ...change })
  expect(refused.json()).toMatchObject({ status: 409, code: 'already-exists' })
  expect(refused.text).toContain(`${name}-blue`)
  expect((await api.call('GET', `/services/${name}`)).json()).toMatchObject({ generation: 1 })
  const put = await api.call('PUT', `/services/${name}`, {
    body: { image, env: { A: '1' }, revisionSuffix: 'blue', ...change },
  })
  expect(put.status).toBe(409)
})

test('traffic and rollback know revisions by the names that users gave', async () => {
  const service = (await post('blue-green', { revisionSuffix: 'blue' })).json<ServiceView>()
  await madeRevision(service, 'blue', 1)
  await madeRevision(service, 'green', 2)
  await nowLatest(service, 'blue-green-green')
  const back = await api.call('POST', '/services/blue-green/rollback')
  expect(back.json()).toMatchObject({ pinnedRevision: 'blue-green-blue' })
  const named = { revision: 'blue-green-green' }
  const forth = await api.call('POST', '/services/blue-green/rollback', { body: named })
  expect(forth.json()).toMatchObject({ pinnedRevision: 'blue-green-green' })
  const split = await api.call('PUT', '/services/blue-green/traffic', {
    body: [
      { revision: 'blue-green-blue', percent: 50 },
      { revision: 'blue-green-green', percent: 50, tag: 'green' },
    ],
  })
  expect(split.json()).toMatchObject({
    pinnedRevision: null,
    traffic: [{ revision: 'blue-green-blue' }, { tag: 'green' }],
  })
})
