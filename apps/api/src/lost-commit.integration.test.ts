import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { commitLoser, type CommitLoser } from './testing/commit-loser.ts'
import { startApi, type StartedApi } from './testing/started-api.ts'

let folder: string
let way: CommitLoser
let api: StartedApi
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'berth-api-'))
  api = await startApi(inject('postgresUrl'), {
    async reachDatabase(url) {
      way = await commitLoser(url, folder)
      return way.url
    },
  })
})
afterAll(async () => {
  await api.stop()
  await way.close()
  await rm(folder, { recursive: true })
})

const image = '127.0.0.1:5050/hello:1'
const deploymentsOf = async (name: string) =>
  (await api.call('GET', `/services/${name}/deployments`)).json<{ items: { id: string }[] }>().items

test('who asks again with the same key after a lost commit gets the one answer, and it was done once', async () => {
  const ask = () =>
    api.call('POST', '/services', { body: { name: 'paid', image }, headers: { 'idempotency-key': 'key-1' } })
  way.loseNext()
  expect((await ask()).json()).toMatchObject({ status: 503, code: 'store-unavailable' })
  expect(way.lost()).toBe(1)
  const again = await ask()
  expect(again.status).toBe(202)
  expect(again.headers['idempotency-replayed']).toBe('true')
  const [deployment, ...others] = await deploymentsOf('paid')
  expect(others).toEqual([])
  expect(again.json()).toMatchObject({ name: 'paid', deployment: { id: deployment?.id } })
})

test('a PATCH whose commit was lost says 503, and the same PATCH again changes nothing more', async () => {
  await api.call('POST', '/services', { body: { name: 'patched', image } })
  const patch = () => api.call('PATCH', '/services/patched', { body: { maxScale: 7 } })
  way.loseNext()
  expect((await patch()).json()).toMatchObject({ status: 503, code: 'store-unavailable' })
  const again = await patch()
  expect(again.status).toBe(200)
  expect(again.json()).toMatchObject({ maxScale: 7, generation: 2 })
})
