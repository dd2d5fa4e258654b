import type { ServiceView } from '@berth/contracts'
import { insertRevision } from '@berth/db/testing'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { startApi, type StartedApi } from './testing/started-api.ts'

/*
 * What a refusal tells beside the field: which value would be taken, so that nobody has to look it up. Which values are
 * refused is in `bad-input`, `traffic` and `volumes`.
 */

let api: StartedApi
/** `hello-00001` was ready, `hello-00002` has failed. */
beforeAll(async () => {
  api = await startApi(inject('postgresUrl'))
  const posted = await api.call('POST', '/services', {
    body: { name: 'hello', image: '127.0.0.1:5050/hello:1', revisionHistoryLimit: 7 },
  })
  const { uid } = posted.json<ServiceView>()
  const failure = { reason: 'AppCrashed', message: 'exit code 1' }
  await insertRevision(api.db, { serviceUid: uid, number: 1, readyAt: new Date() })
  await insertRevision(api.db, { serviceUid: uid, number: 2, failure })
})
afterAll(() => api.stop())

type Told = { status: number; errors?: { path: string; message: string }[] }

async function refusal(method: string, path: string, body: unknown): Promise<string[]> {
  const problem = (await api.call(method, path, { body })).json<Told>()
  expect(problem.status).toBe(422)
  return (problem.errors ?? []).map((error) => `${error.path}: ${error.message}`)
}

const latest = (change: Record<string, unknown> = {}) => ({ revision: 'latest', percent: 100, ...change })

describe('traffic', () => {
  test.each<[string, unknown[]]>([
    [': the percentages must sum to 100, they sum to 99', [latest({ percent: 99 })]],
    ['0.percent: expected a whole number, received number', [latest({ percent: 33.3 })]],
    ['0.percent: expected number to be >=0', [latest({ percent: -10 }), latest(), latest({ percent: 10 })]],
    [
      '0.revision: is neither "latest" nor a revision of the service',
      [{ revision: 'hello-00009', percent: 100 }],
    ],
    ['0.revision: was never ready, so it gets no traffic', [{ revision: 'hello-00002', percent: 100 }]],
    ['1.tag: the tag "same" is used twice', [latest({ tag: 'same' }), latest({ percent: 0, tag: 'same' })]],
    [
      '0.tag: must be lower-case letters, digits and dashes, with no dash at either end',
      [latest({ tag: 'a_b' })],
    ],
    ['0.tag: must be 3 to 20 characters long, has 2', [latest({ tag: 'ab' })]],
  ])('is refused with "%s"', async (told, body) => {
    expect(await refusal('PUT', '/services/hello/traffic', body)).toEqual([told])
  })
})

describe('a rollback', () => {
  test.each<[string, string]>([
    ['revision: is not a revision of the service; the newest 7 are kept, and those in use', 'hello-00009'],
    ['revision: was never ready', 'hello-00002'],
  ])('is refused with "%s"', async (told, revision) => {
    expect(await refusal('POST', '/services/hello/rollback', { revision })).toEqual([told])
  })
})

describe('a probe', () => {
  test.each<[string, Record<string, unknown>]>([
    [
      'readinessProbe.httpGet.host: is not a known field',
      { readinessProbe: { httpGet: { path: '/', host: '10.0.0.1' } } },
    ],
    [
      'readinessProbe.httpGet.path: must begin with "/" and carry no spaces or control characters',
      { readinessProbe: { httpGet: { path: '/a\r\nX-Injected: 1' } } },
    ],
    [
      'livenessProbe.periodSeconds: expected number to be >=1',
      { livenessProbe: { tcpSocket: {}, periodSeconds: 0 } },
    ],
    [
      'livenessProbe.tcpSocket.port: expected number to be <=65535',
      { livenessProbe: { tcpSocket: { port: 65_536 } } },
    ],
    [
      'livenessProbe.tcpSocket.port: expected number, received string',
      { livenessProbe: { tcpSocket: { port: 'sidecar' } } },
    ],
  ])('is refused with "%s"', async (told, body) => {
    expect(await refusal('PATCH', '/services/hello', body)).toEqual([told])
  })
})

describe('a volume', () => {
  const at = (mountPath: string, name = 'data') => ({ name, mountPath })
  test.each<[string, unknown[]]>([
    [
      'volumes.0.name: must be lower-case letters, digits and dashes, with no dash at either end',
      [at('/data', '..')],
    ],
    ['volumes.0.mountPath: must not be the root of the container', [at('/')]],
    ['volumes.0.mountPath: must not be /proc or inside it', [at('/proc/self')]],
    ['volumes.0.mountPath: must not be /etc or inside it', [at('/etc')]],
    ['volumes.0.mountPath: must be an absolute path', [at('data')]],
    ['volumes.0.mountPath: must be a plain path: no empty part, no "." and no ".."', [at('/data/../etc')]],
    [
      'volumes.1.mountPath: must not be or lie within the same path as /data',
      [at('/data'), at('/data', 'more')],
    ],
  ])('is refused with "%s"', async (told, volumes) => {
    expect(await refusal('PATCH', '/services/hello', { maxScale: 1, volumes })).toEqual([told])
  })
})
