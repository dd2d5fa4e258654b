import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, request, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { schema } from '@berth/db'
import { insertNode } from '@berth/db/testing'
import { afterAll, beforeAll, beforeEach, expect, inject, test } from 'vitest'
import { startApi, type StartedApi } from './testing/started-api.ts'

/* A stand-in for the worker behind its control socket; the real one and its engine are in the end-to-end tests. */

let folder: string
let worker: Server
let api: StartedApi
let node: string
const kept = new Map<string, Buffer>()
let refusal: { status: number; body: object } | undefined

async function answer(asked: IncomingMessage, response: ServerResponse): Promise<void> {
  const volume = /^\/nodes\/[^/]+\/volumes\/([^/]+)\//.exec(asked.url ?? '')?.[1] ?? ''
  const bytes = await buffer(asked).catch(() => undefined)
  if (refusal !== undefined) {
    response.writeHead(refusal.status, { 'content-type': 'application/json' })
    return void response.end(JSON.stringify(refusal.body))
  }
  if (asked.url?.endsWith('/size'))
    return void response.end(JSON.stringify({ bytes: kept.get(volume)?.length }))
  if (asked.method === 'GET') return void response.end(kept.get(volume))
  if (bytes !== undefined) kept.set(volume, bytes)
  response.writeHead(204).end()
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'berth-va-'))
  const controlSocket = join(folder, 'c')
  worker = createServer((asked, response) => void answer(asked, response))
  worker.listen(controlSocket)
  await once(worker, 'listening')
  api = await startApi(inject('postgresUrl'), { controlSocket })
  node = (await insertNode(api.db, { name: 'n1' })).uid
})
beforeEach(() => {
  refusal = undefined
})
afterAll(async () => {
  await api.stop()
  worker.closeAllConnections()
  worker.close()
  await rm(folder, { recursive: true })
})

const tar = Buffer.alloc(2 * 1024 * 1024, 'tar')
const headers = { 'content-type': 'application/x-tar' }
const restore = (name: string, query = '?node=n1') =>
  api.call('PUT', `/volumes/${name}/archive${query}`, { body: tar, headers })

test('a tar becomes a new volume on the node that is named, and comes back as it was', async () => {
  const made = await restore('photos')
  expect(made.status).toBe(201)
  expect(made.headers.location).toBe('/volumes/photos')
  expect(made.json()).toMatchObject({ name: 'photos', node: 'n1', service: null, restoring: false })
  const back = await api.call('GET', '/volumes/photos/archive')
  expect(back.headers['content-type']).toBe('application/x-tar')
  expect(back.text).toBe(tar.toString())
  expect((await api.call('GET', '/volumes/photos/size')).json()).toEqual({ bytes: tar.length })
  const [row] = await api.db.select().from(schema.volumes)
  expect(row).toMatchObject({ nodeUid: node, restoringUntil: null, madeAt: expect.any(Date) })
})

test('nothing is restored over what is there', async () => {
  expect((await restore('photos')).json()).toMatchObject({ status: 409, code: 'already-exists' })
})

test('the node may be left out while there is only one', async () => {
  expect((await restore('alone', '')).json()).toMatchObject({ node: 'n1' })
  const { uid } = await insertNode(api.db, { name: 'n2' })
  expect((await restore('many', '')).json()).toMatchObject({ status: 400, code: 'invalid-query' })
  expect((await restore('many', '?node=n9')).json()).toMatchObject({ status: 400, code: 'invalid-query' })
  await api.db.execute(`delete from nodes where uid = '${uid}'`)
})

test('what the worker refuses is told, and what came so far is given up', async () => {
  refusal = { status: 422, body: { code: 'archive-invalid', message: 'leads out of the volume' } }
  const refused = await restore('bad')
  expect(refused.json()).toMatchObject({ status: 400, code: 'malformed-request' })
  expect((await api.call('GET', '/volumes/bad')).json()).toMatchObject({ deleting: true, restoring: false })
})

test('an upload that breaks off leaves no volume behind', async () => {
  const outgoing = request({
    host: '127.0.0.1',
    port: api.port,
    method: 'PUT',
    path: '/volumes/broken/archive?node=n1',
    headers: { ...headers, authorization: `Bearer ${api.token}`, 'content-length': tar.length },
  })
  outgoing.on('error', () => undefined)
  outgoing.write(tar.subarray(0, 1024))
  const state = async () => (await api.call('GET', '/volumes/broken')).json()
  await expect.poll(state).toMatchObject({ restoring: true })
  expect((await api.call('DELETE', '/volumes/broken')).json()).toMatchObject({
    status: 409,
    code: 'conflict',
  })
  outgoing.destroy()
  await expect.poll(state, { timeout: 20_000 }).toMatchObject({ deleting: true })
})

test.each([
  ['another content type', { 'content-type': 'application/json' }, '/volumes/new/archive?node=n1', 415],
  ['a name that is none', headers, '/volumes/N_w/archive?node=n1', 422],
  ['an unknown query', headers, '/volumes/new/archive?over=1', 400],
])('%s is refused before anything is read', async (_what, sent, path, status) => {
  expect((await api.call('PUT', path, { body: tar, headers: sent })).status).toBe(status)
  expect((await api.call('GET', '/volumes/new')).status).toBe(404)
})

test('a volume that no replica has mounted yet has nothing to back up', async () => {
  const volumes = [{ name: 'fresh', mountPath: '/data' }]
  await api.call('POST', '/services', {
    body: { name: 'blog', image: '127.0.0.1:5050/a:1', maxScale: 1, volumes },
  })
  expect((await api.call('GET', '/volumes/fresh/archive')).json()).toMatchObject({ status: 409 })
})
