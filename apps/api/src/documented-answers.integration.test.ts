import { deploymentEventView, deploymentView, problemView, type ServiceView } from '@berth/contracts'
import { insertNode, insertReplica, insertRevision } from '@berth/db/testing'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { allRoutes } from './routes/all-routes.ts'
import type { Called } from './testing/call.ts'
import { openStream } from './testing/open-stream.ts'
import { startApi, type StartedApi } from './testing/started-api.ts'

/** A service with everything that can be said about one, and what workers would have written about it. */
let api: StartedApi
let deployment: string
beforeAll(async () => {
  api = await startApi(inject('postgresUrl'))
  const body = {
    name: 'full',
    image: '127.0.0.1:5050/hello:1',
    command: ['/app'],
    args: ['-v'],
    env: { A: 'b' },
    cpu: '500m',
    memory: '1.1Gi',
    idle: { coldAfterSeconds: 'never' },
    readinessProbe: { httpGet: { path: '/ready', httpHeaders: [{ name: 'A', value: 'b' }] } },
    startupProbe: { tcpSocket: { port: 8080 } },
    livenessProbe: { grpc: { service: 'health' } },
    volumes: [{ name: 'files', mountPath: '/files' }],
    maxScale: 1,
    nodeSelector: { disk: 'ssd' },
    traffic: [{ revision: 'latest', percent: 100, tag: 'canary' }],
    labels: { team: 'a' },
    annotations: { note: 'any text' },
  }
  const service = (await api.call('POST', '/services', { body })).json<ServiceView>()
  deployment = service.deployment?.id ?? ''
  const revision = await insertRevision(api.db, { serviceUid: service.uid, readyAt: new Date() })
  await insertRevision(api.db, {
    serviceUid: service.uid,
    number: 2,
    failure: { reason: 'AppCrashed', message: 'exit code 1' },
  })
  const lastSeenAt = new Date()
  const node = await insertNode(
    api.db,
    { name: 'n1', capacity: { cpuMillis: 2000, memoryBytes: 1_181_116_006 } },
    {
      lastSeenAt,
      engineVersion: '28.0.1',
      diskTotalBytes: 2 ** 40,
      diskFreeBytes: 2 ** 39,
      diskAt: lastSeenAt,
    },
  )
  const place = { revisionUid: revision.uid, nodeUid: node.uid }
  const replica = await insertReplica(api.db, { ...place, state: 'ready', startedAt: new Date() })
  await insertReplica(api.db, { ...place, state: 'failed', reason: 'OutOfMemory', message: 'killed' })
  await api.db.execute(`insert into replica_containers values ('${replica.id}', 'app', 'abc')`)
  await api.db.execute(
    `insert into service_events (service_uid, kind, revision, node, replica_id, reason, message)
     values ('${service.uid}', 'ReplicaRestarted', 'full-00001', 'n1', '${replica.id}', 'OutOfMemory', 'killed')`,
  )
  const condition = {
    type: 'Ready',
    status: 'True',
    reason: 'Serving',
    message: 'it answers',
    lastTransitionTime: new Date().toISOString(),
  }
  const traffic = [{ revision: 'full-00001', percent: 100, tag: 'canary' }]
  await api.db.execute(
    `update service_status set observed_generation = 1, conditions = '${JSON.stringify([condition])}',
     latest_created_revision = 'full-00002', latest_ready_revision = 'full-00001',
     traffic = '${JSON.stringify(traffic)}' where service_uid = '${service.uid}'`,
  )
  const login = { username: 'me', password: 'secret' }
  await api.call('PUT', '/registries/registry.example', { body: login })
})
afterAll(() => api.stop())

// The table needs no more of its context to be listed.
const context = { keyring: {}, domain: '', edgePort: 0, controlSocket: '' } as Parameters<typeof allRoutes>[0]
const routes = allRoutes(context)

/** The answer says what its documentation says: every field is described, and so is every header it carries. */
function expectDocumented(method: string, template: string, answer: Called): void {
  const route = routes.find((each) => each.method.toUpperCase() === method && each.path === template)
  const documented = route?.answers[answer.status]
  expect(documented, `${method} ${template} answers ${answer.status}`).toBeDefined()
  const body: unknown = answer.text === '' ? undefined : answer.json()
  // What a schema does not know is left out by it.
  expect(documented?.schema?.parse(body)).toEqual(body)
  const headers = documented?.headers ?? []
  expect(answer.headers.etag !== undefined).toBe(headers.includes('ETag'))
  if (answer.headers.location !== undefined) expect(headers).toContain('Location')
}

test.each([
  ['/services', '/services'],
  ['/services/{service}', '/services/full'],
  ['/services/{service}/explain', '/services/full/explain'],
  ['/services/{service}/revisions', '/services/full/revisions'],
  ['/services/{service}/revisions/{revision}', '/services/full/revisions/full-00001'],
  ['/services/{service}/revisions/{revision}', '/services/full/revisions/full-00002'],
  ['/services/{service}/replicas', '/services/full/replicas'],
  ['/services/{service}/events', '/services/full/events'],
  ['/services/{service}/deployments', '/services/full/deployments'],
  ['/deployments/{deployment}', '/deployments/DEPLOYMENT'],
  ['/nodes', '/nodes'],
  ['/nodes/{node}', '/nodes/n1'],
  ['/pools', '/pools'],
  ['/pools/{pool}', '/pools/default'],
  ['/projects', '/projects'],
  ['/volumes', '/volumes'],
  ['/volumes/{volume}', '/volumes/files'],
  ['/tokens', '/tokens'],
  ['/registries', '/registries'],
])('GET %s answers as it is documented', async (template, path) => {
  const answer = await api.call('GET', path.replace('DEPLOYMENT', deployment))
  expect(answer.status).toBe(200)
  if (answer.text.startsWith('{"items"'))
    expect(answer.json<{ items: unknown[] }>().items.length).toBeGreaterThan(0)
  expectDocumented('GET', template, answer)
})

const image = '127.0.0.1:5050/hello:1'
const disk = { name: 'disk', mountPath: '/disk' }
const changes: [string, string, string, unknown?][] = [
  ['POST', '/services', '/services', { name: 'made', image }],
  ['PUT', '/services/{service}', '/services/made', { image }],
  ['PATCH', '/services/{service}', '/services/made', { maxScale: 3 }],
  ['PUT', '/services/{service}/traffic', '/services/made/traffic', [{ revision: 'latest', percent: 100 }]],
  ['POST', '/services/{service}/rollback', '/services/full/rollback', { revision: 'full-00001' }],
  ['POST', '/deployments/{deployment}/cancel', '/deployments/DEPLOYMENT/cancel'],
  ['DELETE', '/services/{service}', '/services/made'],
  ['POST', '/nodes', '/nodes', { name: 'made', endpoint: 'unix:///run/made.sock' }],
  ['PATCH', '/nodes/{node}', '/nodes/made', {}],
  ['POST', '/nodes/{node}/cordon', '/nodes/made/cordon'],
  ['DELETE', '/nodes/{node}', '/nodes/made'],
  ['POST', '/pools', '/pools', { name: 'made' }],
  ['PATCH', '/pools/{pool}', '/pools/made', { overcommitCpu: 3 }],
  ['POST', '/projects', '/projects', { name: 'made' }],
  ['DELETE', '/projects/{name}', '/projects/made'],
  ['POST', '/tokens', '/tokens', { name: 'made' }],
  ['POST', '/services', '/services', { name: 'kept', image, maxScale: 1, volumes: [disk] }],
  ['PATCH', '/services/{service}', '/services/kept', { volumes: [] }],
  ['DELETE', '/volumes/{volume}', '/volumes/disk'],
  ['PUT', '/registries/{host}', '/registries/made.example', { username: 'a', password: 'b' }],
  ['DELETE', '/registries/{host}', '/registries/made.example'],
]

test.each(changes)('%s %s answers as it is documented', async (method, template, path, body) => {
  const options = body === undefined ? {} : { body }
  const answer = await api.call(method, path.replace('DEPLOYMENT', deployment), options)
  expect(answer.status).toBeLessThan(300)
  expectDocumented(method, template, answer)
})

test('the events of a deployment are as they are documented', async () => {
  const stream = await openStream(api.port, `/deployments/${deployment}/events`, api.token)
  await stream.waitFor('event: progress')
  await api.db.execute(`update deployments set phase = 'cancelled', finished_at = now()`)
  await stream.ended
  const data = [...stream.text().matchAll(/^data: (.*)$/gm)].map(
    ([, text]) => JSON.parse(text ?? '') as unknown,
  )
  const last = data.pop()
  expect(deploymentView.parse(last)).toEqual(last)
  expect(data.length).toBeGreaterThan(0)
  for (const event of data) expect(deploymentEventView.parse(event)).toEqual(event)
})

test.each([
  ['GET', '/services/nobody', undefined],
  ['POST', '/services', { name: 'No', image: '' }],
  ['DELETE', '/services', undefined],
])('the problem of %s %s is as it is documented', async (method, path, body) => {
  const answer = await api.call(method, path, body === undefined ? {} : { body })
  expect(problemView.parse(answer.json())).toEqual(answer.json())
  expect(answer.headers['x-request-id']).toBe(answer.json()['requestId'])
})
