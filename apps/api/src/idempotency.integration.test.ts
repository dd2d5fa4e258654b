import { schema, SealBrokenError } from '@berth/db'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { keyringOfToken } from './auth/token-secret.ts'
import type { CallOptions } from './testing/call.ts'
import { startApi, type StartedApi } from './testing/started-api.ts'

let api: StartedApi
beforeAll(async () => {
  api = await startApi(inject('postgresUrl'))
})
afterAll(() => api.stop())

const image = '127.0.0.1:5050/hello:1'
const post = (name: string, more: Record<string, unknown> = {}, headers = {}) =>
  api.call('POST', '/services', { body: { name, image, ...more }, headers })
const deploymentsOf = async (name: string) =>
  (await api.call('GET', `/services/${name}/deployments`)).json<{ items: { id: string }[] }>().items

test('an idempotency key does the work once and answers the same again', async () => {
  const headers = { 'idempotency-key': 'key-1' }
  const first = await post('once', { env: { SECRET: 'swordfish' } }, headers)
  const second = await post('once', { env: { SECRET: 'swordfish' } }, headers)
  expect(second.status).toBe(202)
  expect(second.json()).toEqual(first.json())
  expect(second.headers.etag).toBe(first.headers.etag)
  expect(second.headers.location).toBe('/services/once')
  expect(await deploymentsOf('once')).toHaveLength(1)
  const other = await post('twice', {}, headers)
  expect(other.json()).toMatchObject({ status: 422, code: 'idempotency-key-reused' })
  const stored = await api.db.select().from(schema.idempotencyKeys)
  expect(JSON.stringify(stored)).not.toContain('swordfish')
  await api.db.update(schema.idempotencyKeys).set({ createdAt: new Date(Date.now() - 25 * 3_600_000) })
  expect((await post('twice', {}, headers)).status).toBe(202)
})

test('a request that was refused does not use its key up', async () => {
  const headers = { 'idempotency-key': 'key-2' }
  expect((await post('retried', { memory: '1' }, headers)).status).toBe(422)
  expect((await post('retried', {}, headers)).status).toBe(202)
})

test('simultaneous requests with one key do the work once', async () => {
  const headers = { 'idempotency-key': 'key-3' }
  const answers = await Promise.all(Array.from({ length: 50 }, () => post('crowd', {}, headers)))
  for (const answer of answers)
    if (answer.status !== 202) expect(answer.json()).toMatchObject({ code: 'idempotency-key-in-progress' })
  expect(answers.some(({ status }) => status === 202)).toBe(true)
  expect(await deploymentsOf('crowd')).toHaveLength(1)
})

test.each([256, 10_240])('a key of %i characters is refused', async (length) => {
  const answer = await post('long-key', {}, { 'idempotency-key': 'k'.repeat(length) })
  expect(answer.json()).toMatchObject({ status: 400, code: 'malformed-request' })
  expect((await api.call('GET', '/services/long-key')).status).toBe(404)
})

test('a key belongs to its project', async () => {
  await api.call('POST', '/projects', { body: { name: 'acme' } })
  const options = { body: { name: 'shared', image }, headers: { 'idempotency-key': 'key-4' } }
  const own = await api.call('POST', '/services', options)
  const other = await api.call('POST', '/projects/acme/services', options)
  expect([own.status, other.status]).toEqual([202, 202])
  expect(other.headers).not.toHaveProperty('idempotency-replayed')
  expect(other.json()).toMatchObject({ project: 'acme' })
})

test('the short and the canonical path are the same request', async () => {
  const options = { body: { name: 'two-paths', image }, headers: { 'idempotency-key': 'key-5' } }
  const short = await api.call('POST', '/services', options)
  const canonical = await api.call('POST', '/projects/default/services', options)
  expect(canonical.json()).toEqual(short.json())
  expect(canonical.headers['idempotency-replayed']).toBe('true')
})

test('the answer with a new token is repeated for the token that asked, and for no other', async () => {
  const makeToken = (options: CallOptions) => {
    const body = { name: 'robot', scope: 'platform' }
    return api.call('POST', '/tokens', { body, headers: { 'idempotency-key': 'key-6' }, ...options })
  }
  const first = (await makeToken({})).json<{ id: string; token: string }>()
  expect((await makeToken({})).json()).toEqual(first)
  const weak = (await api.call('POST', '/tokens', { body: { name: 'weak' } })).json<{ token: string }>()
  for (const token of [weak.token, first.token]) {
    const replay = await makeToken({ token })
    expect(replay.json()).toMatchObject({ status: 422, code: 'idempotency-key-reused' })
    expect(replay.text).not.toContain(first.token)
  }
})

test('what is stored of an answer opens with the token that asked only', async () => {
  const headers = { 'idempotency-key': 'key-7' }
  const made = await api.call('POST', '/tokens', { body: { name: 'sealed' }, headers })
  const { token } = made.json<{ token: string }>()
  const row = (await api.db.select().from(schema.idempotencyKeys)).find(({ key }) => key === 'key-7')
  const sealed = Buffer.from(row?.body ?? '', 'base64')
  const purpose = `idempotency:${row?.projectUid}:${row?.route}:key-7`
  expect(keyringOfToken(api.token).openText(sealed, purpose)).toContain(token)
  for (const other of [keyringOfToken('berth_other'), api.context.keyring])
    expect(() => other.openText(sealed, purpose)).toThrow(SealBrokenError)
})
