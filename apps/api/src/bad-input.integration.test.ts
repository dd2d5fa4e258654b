import { reservedNames } from '@berth/contracts'
import { schema } from '@berth/db'
import { afterAll, afterEach, beforeAll, expect, inject, test } from 'vitest'
import { sendRaw } from './testing/send-raw.ts'
import { startApi, type StartedApi } from './testing/started-api.ts'

let api: StartedApi
beforeAll(async () => {
  api = await startApi(inject('postgresUrl'))
})
afterAll(() => api.stop())

afterEach(async () => {
  expect(await api.db.select().from(schema.services)).toEqual([])
  expect(await api.db.select().from(schema.deployments)).toEqual([])
  expect(api.wakes).toEqual([])
})

type Problem = { status: number; code: string; detail: string; errors?: { path: string; message: string }[] }

const spec = { name: 'hello', image: '127.0.0.1:5050/hello:1' }
const badNames = [
  '',
  'a'.repeat(51),
  'Hello',
  'he_llo',
  'he.llo',
  '-hello',
  'hello-',
  'he--llo',
  'xn--a',
  'ab',
  '123',
  'hello\n',
  ...reservedNames,
]
const badImages = [
  '',
  ':',
  'hello:',
  'http://hello',
  `hello:${'t'.repeat(129)}`,
  '127.0.0.1:5050/Hello:1',
  'hello\n',
  '--privileged',
  'hello@sha256:12',
  `hello@sha512:${'a'.repeat(128)}`,
  '300.300.300.300/app',
  '[:]/x',
  'a'.repeat(600),
  7,
  null,
]
const badEnv: [string, unknown][] = [
  ['A=B', 'x'],
  ['A\nB', 'x'],
  ['', 'x'],
  ['1A', 'x'],
  ['PORT', '1'],
  ['K_SERVICE', 'x'],
  ['A', 'x'.repeat(40 * 1024)],
  ['A', 1],
  ['A', null],
  ['A', { secret: 's', version: '1' }],
]

/** [path that the problem names, change to a good spec] */
const badFields: [string, Record<string, unknown>][] = [
  ...badNames.map((name): [string, Record<string, unknown>] => ['name', { name }]),
  ...badImages.map((image): [string, Record<string, unknown>] => ['image', { image }]),
  ...[0, 65_536, 80.5, '80', -1, null].map((port): [string, Record<string, unknown>] => ['port', { port }]),
  ...[-1, 0, 'NaN', '1', 0.01, 65, null, {}].map((cpu): [string, Record<string, unknown>] => [
    'cpu',
    { cpu },
  ]),
  ...[-1, 0, '0', '512m ', '10Ei', '512', '15Mi', '513Gi', 536_870_912, null].map(
    (memory): [string, Record<string, unknown>] => ['memory', { memory }],
  ),
  ...badEnv.map(([key, value]): [string, Record<string, unknown>] => [
    `env.${key}`,
    { env: { [key]: value } },
  ]),
  ['env', { env: [] }],
  ['env', { env: Object.fromEntries(Array.from({ length: 1001 }, (_, index) => [`A${index}`, ''])) }],
  ['minScale', { minScale: 3, maxScale: 2 }],
  ['minScale', { minScale: -1 }],
  ['maxScale', { maxScale: 1e9 }],
  ['maxScale', { maxScale: 0 }],
  [
    'rollout.strategy',
    { rollout: { strategy: 'manual' }, maxScale: 1, volumes: [{ name: 'data', mountPath: '/data' }] },
  ],
  ['idle.freezeAfterSeconds', { idle: { freezeAfterSeconds: -1 } }],
  ['idle.parkAfterSeconds', { idle: { freezeAfterSeconds: 60, parkAfterSeconds: 30 } }],
  [
    'idle.coldAfterSeconds',
    { idle: { freezeAfterSeconds: 60, parkAfterSeconds: 'never', coldAfterSeconds: 30 } },
  ],
  ['idle.coldAfterSeconds', { idle: { coldAfterSeconds: null } }],
  ['idle.coldAfterSeconds', { idle: { coldAfterSeconds: 'soon' } }],
  ['idle', { idle: null }],
  ['idle.meltAfterSeconds', { idle: { meltAfterSeconds: 3 } }],
  ['concurrency', { concurrency: -1 }],
  ['concurrency', { concurrency: 1001 }],
  ['timeoutSeconds', { timeoutSeconds: 0 }],
  ['timeoutSeconds', { timeoutSeconds: 3601 }],
  ['command', { command: 'sh -c' }],
  ['args.0', { args: [1] }],
  ['pool', { pool: 'nowhere' }],
  ['nodeSelector.a b', { nodeSelector: { 'a b': 'x' } }],
  ['labels.-a', { labels: { '-a': 'x' } }],
  ['labels.a', { labels: { a: 'not a value' } }],
  ['annotations./a', { annotations: { '/a': 'x' } }],
  ['readinessProbe', { readinessProbe: {} }],
  ['readinessProbe', { readinessProbe: { httpGet: {}, tcpSocket: {} } }],
  ['readinessProbe.httpGet.path', { readinessProbe: { httpGet: { path: 'healthz' } } }],
  ['readinessProbe.exec', { readinessProbe: { exec: {}, tcpSocket: {} } }],
  ['livenessProbe.periodSeconds', { livenessProbe: { tcpSocket: {}, periodSeconds: 0 } }],
  ['readinessProbe.httpGet.path', { readinessProbe: { httpGet: { path: '/a\r\nX-Injected: 1' } } }],
  ['readinessProbe.httpGet.host', { readinessProbe: { httpGet: { path: '/', host: '10.0.0.1' } } }],
  ['readinessProbe.tcpSocket.host', { readinessProbe: { tcpSocket: { host: '10.0.0.1' } } }],
  ['startupProbe.httpGet.port', { startupProbe: { httpGet: { port: 0 } } }],
  ['livenessProbe.grpc.port', { livenessProbe: { grpc: { port: 65_536 } } }],
  ['livenessProbe.successThreshold', { livenessProbe: { tcpSocket: {}, successThreshold: 2 } }],
  ['startupProbe.successThreshold', { startupProbe: { tcpSocket: {}, successThreshold: 2 } }],
  ['sessionAffinity', { sessionAffinity: 'ip' }],
  ['sessionAffinity', { sessionAffinity: true }],
  ['revisionHistoryLimit', { revisionHistoryLimit: 0 }],
  ['revisionHistoryLimit', { revisionHistoryLimit: 201 }],
  ['revisionHistoryLimit', { revisionHistoryLimit: 1.5 }],
  ['revisionSuffix', { revisionSuffix: '' }],
  ['revisionSuffix', { revisionSuffix: 'Blue' }],
  ['revisionSuffix', { revisionSuffix: '-blue' }],
  ['revisionSuffix', { revisionSuffix: '00001' }],
  ['revisionSuffix', { name: 'a'.repeat(50), revisionSuffix: 'b'.repeat(13) }],
  ['traffic', { traffic: [] }],
  ['traffic', { traffic: [{ revision: 'latest', percent: 99 }] }],
  [
    'traffic',
    {
      traffic: [
        { revision: 'latest', percent: 99 },
        { revision: 'latest', percent: 2 },
      ],
    },
  ],
  ['traffic.0.percent', { traffic: [{ revision: 'latest', percent: 101 }] }],
  [
    'traffic.0.percent',
    {
      traffic: [
        { revision: 'latest', percent: -10 },
        { revision: 'latest', percent: 110 },
      ],
    },
  ],
  [
    'traffic.2.percent',
    { traffic: Array.from({ length: 3 }, () => ({ revision: 'latest', percent: 33.3 })) },
  ],
  ['traffic.0.revision', { traffic: [{ revision: 'hello-00001', percent: 100 }] }],
  [
    'traffic.1.tag',
    {
      traffic: [
        { revision: 'latest', percent: 100, tag: 'same' },
        { revision: 'latest', percent: 0, tag: 'same' },
      ],
    },
  ],
  ['traffic.0.tag', { traffic: [{ revision: 'latest', percent: 100, tag: 'No' }] }],
  [
    'traffic.0.tag',
    { name: 'a'.repeat(45), traffic: [{ revision: 'latest', percent: 100, tag: 'b'.repeat(20) }] },
  ],
  ['rollout.strategy', { rollout: { strategy: 'canary' } }],
  ['unknown', { unknown: 1 }],
  ...['secrets', 'containers', 'gpu', 'region', 'schedule', 'kind'].map(
    (field): [string, Record<string, unknown>] => [field, { [field]: [] }],
  ),
]

test.each(badFields)('the field %s is refused by name: %j', async (path, change) => {
  const answer = await api.call('POST', '/services', { body: { ...spec, ...change } })
  expect(answer.headers['content-type']).toBe('application/problem+json')
  const problem = answer.json<Problem>()
  expect(problem).toMatchObject({ status: 422, code: 'invalid-field' })
  expect(problem.errors?.map((error) => error.path)).toContain(path)
  expect(answer.status).toBe(422)
})

/** [what, body, status, code, path that the problem names] */
const rawBodies: [string, string | Buffer, number, string, string?][] = [
  ['100,000 levels', `{"env":${'['.repeat(100_000)}${']'.repeat(100_000)}}`, 400, 'malformed-json', 'env'],
  ['invalid UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]), 400, 'malformed-json'],
  ['U+0000 in a string', '{"name":"hello","image":"a\\u0000"}', 400, 'malformed-json', 'image'],
  ['U+0000 in a key', '{"image":"a","env":{"A\\u0000":"b"}}', 400, 'malformed-json', 'env'],
  ['half a surrogate pair', '{"image":"a","env":{"A":"\\ud800"}}', 400, 'malformed-json', 'env.A'],
  ['duplicate keys', '{"name":"hello","name":"world","image":"a"}', 400, 'malformed-json', 'name'],
  ['duplicate keys, one escaped', '{"name":"hello","n\\u0061me":"world"}', 400, 'malformed-json', 'name'],
  ['__proto__', '{"env":{"__proto__":"a"}}', 400, 'malformed-json', 'env.__proto__'],
  ['not JSON', '{"name":', 400, 'malformed-json', ''],
  ['cpu 1e309', '{"name":"hello","image":"a","cpu":1e309}', 422, 'invalid-field', 'cpu'],
  ['a list', '[]', 422, 'invalid-field', ''],
  ['a string', '"hello"', 422, 'invalid-field', ''],
  ['null', 'null', 422, 'invalid-field', ''],
  ['nothing', '', 422, 'invalid-field', 'name'],
]

test.each(rawBodies)('a body with %s is refused', async (_what, body, status, code, path) => {
  const answer = await api.call('POST', '/services', { body })
  const problem = answer.json<Problem>()
  expect(problem).toMatchObject({ status, code })
  expect(problem.errors?.map((error) => error.path)[0]).toBe(path)
  expect(answer.status).toBe(status)
})

// Sent by hand: what the server does not read any more would break a client that is still writing.
test.each([
  ['announces', `Content-Length: ${2 * 1024 * 1024}`, ''],
  ['turns out to have', 'Transfer-Encoding: chunked', `100001\r\n${'x'.repeat(1024 * 1024 + 1)}\r\n`],
])('a body that %s more than 1 MiB is refused and the connection closed', async (_how, header, body) => {
  const head = ['POST /services HTTP/1.1', 'Host: localhost', `Authorization: Bearer ${api.token}`, header]
  const answer = await sendRaw(api.port, `${head.join('\r\n')}\r\n\r\n${body}`)
  expect(answer).toMatch(/^HTTP\/1\.1 413 /)
  expect(answer).toMatch(/^connection: close\r$/im)
  expect(answer).toContain('"code":"body-too-large"')
})

test.each([
  ['another type', { 'content-type': 'text/plain' }],
  ['the type of a form', { 'content-type': 'application/x-www-form-urlencoded' }],
  ['an empty type', { 'content-type': '' }],
  ['two types', { 'content-type': 'application/json, application/json' }],
  ['another charset', { 'content-type': 'application/json; charset=utf-7' }],
  ['an encoding', { 'content-encoding': 'gzip' }],
  ['two encodings', { 'content-encoding': 'identity, br' }],
])('a body of %s is refused', async (_what, headers) => {
  const answer = await api.call('POST', '/services', { body: spec, headers })
  expect(answer.json<Problem>()).toMatchObject({ status: 415, code: 'unsupported-media-type' })
})

test('a body without a type is refused', async () => {
  const head = `POST /services HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${api.token}\r\n`
  const body = 'Connection: close\r\nContent-Length: 2\r\n\r\n{}'
  expect(await sendRaw(api.port, head + body)).toMatch(/^HTTP\/1\.1 415 /)
})

test.each([
  'application/json',
  'application/json;charset=UTF-8',
  'application/merge-patch+json; charset="utf-8"',
])('a body of type %s is read', async (type) => {
  const headers = { 'content-type': type, 'content-encoding': 'identity' }
  expect((await api.call('PATCH', '/services/nobody', { body: {}, headers })).status).toBe(404)
})

test('null is no patch, and no empty body either', async () => {
  for (const [method, path] of [
    ['PATCH', '/pools/default'],
    ['POST', '/nodes/local/cordon'],
  ] as const)
    expect((await api.call(method, path, { body: 'null' })).json<Problem>()).toMatchObject({ status: 422 })
})

test('a host label that does not fit with the project is refused', async () => {
  await api.call('POST', '/projects', { body: { name: 'a'.repeat(20) } })
  const name = 'b'.repeat(45)
  const answer = await api.call('POST', `/projects/${'a'.repeat(20)}/services`, { body: { ...spec, name } })
  expect(answer.json<Problem>().errors?.[0]?.path).toBe('name')
})

test.each(['limit=0', 'limit=501', 'limit=x', 'cursor=%00', 'cursor=!', 'page=2', 'limit=1&limit=2'])(
  'the query %s is refused',
  async (query) => {
    const answer = await api.call('GET', `/services?${query}`)
    expect(answer.json<Problem>()).toMatchObject({ status: 400, code: 'invalid-query' })
  },
)

test.each(['/services/%00', '/services/%ff', '/services/..%2f', `/services/${'a'.repeat(300)}`, '/nothing'])(
  'the path %s leads nowhere',
  async (path) => {
    expect((await api.call('GET', path)).json<Problem>()).toMatchObject({ status: 404, code: 'not-found' })
  },
)

test('a method that a path does not have is named as such', async () => {
  const answer = await api.call('DELETE', '/services')
  expect(answer.json<Problem>()).toMatchObject({ status: 405, code: 'method-not-allowed' })
  expect(answer.headers.allow).toBe('POST, GET')
})

test('two Authorization headers are refused although both are valid', async () => {
  const header = `Authorization: Bearer ${api.token}`
  const head = ['GET /services HTTP/1.1', 'Host: localhost', header, header, 'Connection: close', '', '']
  expect(await sendRaw(api.port, head.join('\r\n'))).toMatch(/^HTTP\/1\.1 401 /)
})

test.each(['evil.example', 'localhost.evil.example', '10.0.0.1', '127.0.0.1.nip.io'])(
  'a request for the host %s is misdirected',
  async (host) => {
    const answer = await api.call('GET', '/services', { headers: { host } })
    expect(answer.json<Problem>()).toMatchObject({ status: 421, code: 'misdirected-host' })
  },
)
