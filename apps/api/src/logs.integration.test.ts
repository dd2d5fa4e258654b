import { insertNode, insertProject, insertReplica, insertRevision, insertService } from '@berth/db/testing'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type Server, type ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { until } from '../../../test/support/poll.ts'
import { openStream } from './testing/open-stream.ts'
import { startApi, type StartedApi } from './testing/started-api.ts'

let api: StartedApi
let folder: string
let worker: Server
let first: string
let second: string
/** What the worker was asked, and followers that are still open. */
const asked: string[] = []
const followers = new Set<ServerResponse>()

const line = (at: string, text: string) => `${JSON.stringify({ at, stream: 'stdout', line: text })}\n`

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'berth-api-'))
  const controlSocket = join(folder, 'c')
  api = await startApi(inject('postgresUrl'), { controlSocket })
  const service = await insertService(api.db, { name: 'talker' })
  await insertService(api.db, { name: 'silent' })
  const revision = await insertRevision(api.db, { serviceUid: service.uid })
  const node = await insertNode(api.db)
  const place = { revisionUid: revision.uid, nodeUid: node.uid }
  first = (await insertReplica(api.db, place)).id
  second = (await insertReplica(api.db, place)).id
  worker = createServer((request, response) => {
    const url = new URL(request.url ?? '/', 'http://worker')
    asked.push(`${url.pathname}${url.search}`)
    if (url.pathname === `/replicas/${second}/logs` && url.searchParams.has('previous'))
      return response.writeHead(404).end('{"message":"the replica has no container"}')
    response.writeHead(200, { 'content-type': 'application/x-ndjson' })
    const odd = url.pathname.includes(first)
    response.write(line(`2026-01-01T00:00:0${odd ? 1 : 2}.000000000Z`, odd ? 'one' : 'two'))
    response.write(line(`2026-01-01T00:00:0${odd ? 3 : 4}.000000000Z`, odd ? 'three' : 'four'))
    if (url.searchParams.get('follow') !== 'true') return response.end()
    followers.add(response)
    response.on('close', () => followers.delete(response))
  })
  await new Promise<void>((resolve) => {
    worker.listen(controlSocket, resolve)
  })
})
afterAll(async () => {
  await api.stop()
  worker.closeAllConnections()
  worker.close()
  await rm(folder, { recursive: true })
})

test('the lines of all replicas come in the order of time', async () => {
  const logs = await api.call('GET', '/services/talker/logs')
  expect(logs.headers['content-type']).toContain('text/plain')
  expect(logs.text).toBe('one\ntwo\nthree\nfour\n')
})

test('tail means the newest lines of all together', async () => {
  expect((await api.call('GET', '/services/talker/logs?tail=3')).text).toBe('two\nthree\nfour\n')
  expect((await api.call('GET', '/services/talker/logs?tail=0')).text).toBe('')
})

test('one replica, since when, and the container before are handed on', async () => {
  const path = `/services/talker/logs?replica=${first}&since=2026-01-01T00:00:00Z&previous=true`
  expect((await api.call('GET', path)).text).toBe('one\nthree\n')
  const since = Date.parse('2026-01-01T00:00:00Z')
  expect(asked.at(-1)).toBe(`/replicas/${first}/logs?follow=false&since=${since}&previous=true`)
})

test('a replica without a container is left out', async () => {
  expect((await api.call('GET', '/services/talker/logs?previous')).text).toBe('one\nthree\n')
})

test('lines are followed as events, and the worker hears when the client leaves', async () => {
  const stream = await openStream(api.port, '/services/talker/logs?follow=true', api.token)
  for (const text of ['one', 'two', 'three', 'four']) await stream.waitFor(`"line":"${text}"`)
  expect(stream.text()).toContain('event: log\n')
  for (const follower of followers) follower.write(line('2026-01-01T00:00:09Z', 'later'))
  await stream.waitFor('"line":"later"')
  stream.leave()
  await until(() => followers.size === 0, { describe: 'the worker to lose its followers' })
})

test('lines end with the token that follows them, and the worker hears', async () => {
  const made = await api.call('POST', '/tokens', { body: { name: 'reader' } })
  const { id, token } = made.json<{ id: string; token: string }>()
  const path = '/services/talker/logs?follow=true'
  const streams = await Promise.all([
    openStream(api.port, path, token),
    openStream(api.port, path, token, '*/*'),
  ])
  for (const stream of streams) await stream.waitFor('four')
  await api.call('DELETE', `/tokens/${id}`)
  for (const stream of streams) await stream.ended
  await until(() => followers.size === 0, { describe: 'the worker to lose its followers' })
})

test('lines are followed as text too, of replicas that start later, until the service is gone', async () => {
  const service = await insertService(api.db, { name: 'brief' })
  const revision = await insertRevision(api.db, { serviceUid: service.uid })
  const stream = await openStream(api.port, '/services/brief/logs?follow=true', api.token, '*/*')
  const node = await insertNode(api.db)
  const replica = await insertReplica(api.db, { revisionUid: revision.uid, nodeUid: node.uid })
  await stream.waitFor('four\n')
  expect(asked.at(-1)).toBe(`/replicas/${replica.id}/logs?follow=true`)
  await api.db.execute(`delete from services where uid = '${service.uid}'`)
  for (const follower of followers) follower.end()
  await stream.ended
})

test.each([
  ['/services/nobody/logs', 404, 'not-found'],
  ['/services/talker/logs?replica=rep-none', 404, 'not-found'],
  ['/services/talker/logs?since=yesterday', 400, 'invalid-query'],
  ['/services/talker/logs?tail=-1', 400, 'invalid-query'],
  ['/services/talker/logs?tail=99999', 400, 'invalid-query'],
  ['/services/talker/logs?lines=3', 400, 'invalid-query'],
])('%s is answered with %i', async (path, status, code) => {
  expect((await api.call('GET', path)).json()).toMatchObject({ status, code })
})

test('a replica of another service or project is not there', async () => {
  const projectUid = await insertProject(api.db, 'acme')
  const node = await insertNode(api.db)
  for (const change of [{ name: 'other' }, { name: 'talker', projectUid }]) {
    const service = await insertService(api.db, change)
    const revision = await insertRevision(api.db, { serviceUid: service.uid })
    const { id } = await insertReplica(api.db, { revisionUid: revision.uid, nodeUid: node.uid })
    const before = asked.length
    const answer = await api.call('GET', `/services/talker/logs?replica=${id}`)
    expect(answer.json()).toMatchObject({ status: 404, code: 'not-found' })
    expect(asked.length).toBe(before)
  }
})

test('a service without replicas has no lines', async () => {
  expect((await api.call('GET', '/services/silent/logs')).text).toBe('')
})

test('without a worker the answer says so', async () => {
  const alone = await startApi(inject('postgresUrl'), { controlSocket: join(folder, 'nobody') })
  try {
    const service = await insertService(alone.db, { name: 'talker' })
    const revision = await insertRevision(alone.db, { serviceUid: service.uid })
    const node = await insertNode(alone.db)
    await insertReplica(alone.db, { revisionUid: revision.uid, nodeUid: node.uid })
    const logs = await alone.call('GET', '/services/talker/logs')
    expect(logs.json()).toMatchObject({ status: 503, code: 'worker-unavailable' })
    expect(logs.headers['retry-after']).toBe('2')
  } finally {
    await alone.stop()
  }
})
