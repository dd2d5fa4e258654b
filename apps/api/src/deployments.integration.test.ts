import type { DeploymentView, ReplicaView, RevisionView, ServiceView } from '@berth/contracts'
import { insertNode, insertReplica, insertRevision } from '@berth/db/testing'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { openStream } from './testing/open-stream.ts'
import { startApi, type StartedApi } from './testing/started-api.ts'

let api: StartedApi
beforeAll(async () => {
  api = await startApi(inject('postgresUrl'))
})
afterAll(() => api.stop())

async function deploy(name: string): Promise<{ uid: string; deployment: string }> {
  const body = { name, image: '127.0.0.1:5050/hello:1' }
  const { uid, deployment } = (await api.call('POST', '/services', { body })).json<ServiceView>()
  return { uid, deployment: deployment?.id ?? '' }
}

const happened = (deployment: string, phase: string, message: string) =>
  api.db.execute(
    `insert into deployment_events (deployment_id, phase, node, message) values ('${deployment}', '${phase}', 'n1', '${message}')`,
  )
const ended = (deployment: string, phase: string) =>
  api.db.execute(`update deployments set phase = '${phase}', finished_at = now() where id = '${deployment}'`)

test('a deployment is read, listed, and not shown to other projects', async () => {
  const { deployment } = await deploy('reader')
  const read = await api.call('GET', `/deployments/${deployment}`)
  expect(read.json()).toMatchObject({
    id: deployment,
    service: 'reader',
    revision: null,
    phase: 'queued',
    trigger: 'create',
    finishedAt: null,
  })
  for (let change = 0; change < 4; change += 1)
    await api.call('PATCH', '/services/reader', { body: { timeoutSeconds: 10 + change } })
  const ids: string[] = []
  let cursor = ''
  for (;;) {
    const page = await api.call('GET', `/services/reader/deployments?limit=2${cursor}`)
    const { items, nextCursor } = page.json<{ items: DeploymentView[]; nextCursor: string | null }>()
    ids.push(...items.map(({ id }) => id))
    if (nextCursor === null) break
    cursor = `&cursor=${nextCursor}`
  }
  expect(new Set(ids).size).toBe(5)
  expect(ids.at(-1)).toBe(deployment)
  await api.call('POST', '/projects', { body: { name: 'acme' } })
  expect((await api.call('GET', `/projects/acme/deployments/${deployment}`)).status).toBe(404)
})

test('events are followed until the deployment has ended', async () => {
  const { deployment } = await deploy('followed')
  const stream = await openStream(api.port, `/deployments/${deployment}/events`, api.token)
  expect(stream.headers['content-type']).toContain('text/event-stream')
  await stream.waitFor('"phase":"queued"')
  await happened(deployment, 'pulling', 'Pulling the image.')
  await stream.waitFor('Pulling the image.')
  await ended(deployment, 'succeeded')
  await stream.ended
  const events = stream.text().match(/^event: .*$/gm)
  expect(events).toEqual(['event: progress', 'event: progress', 'event: end'])
  const ids = stream.text().match(/^id: \d+$/gm) ?? []
  const headers = { 'last-event-id': ids[0]?.slice(4) }
  const again = await api.call('GET', `/deployments/${deployment}/events`, { headers })
  expect(again.text.match(/^event: .*$/gm)).toEqual(['event: progress', 'event: end'])
})

test('events end with the token that follows them, whether it is revoked or expires', async () => {
  const { deployment } = await deploy('watched')
  const make = async (name: string) =>
    (await api.call('POST', '/tokens', { body: { name } })).json<{ id: string; token: string }>()
  const [revoked, expiring] = await Promise.all([make('revoked'), make('expiring')])
  const follow = (token: string) => openStream(api.port, `/deployments/${deployment}/events`, token)
  const streams = await Promise.all([revoked.token, expiring.token].map(follow))
  const lasting = await follow(api.token)
  for (const stream of [...streams, lasting]) await stream.waitFor('"phase":"queued"')
  await api.call('DELETE', `/tokens/${revoked.id}`)
  await api.db.execute(`update tokens set expires_at = now() where id = '${expiring.id}'`)
  for (const stream of streams) {
    await stream.ended
    expect(stream.text()).not.toContain('event: end')
  }
  await ended(deployment, 'succeeded')
  await lasting.waitFor('event: end')
})

test('a deployment is cancelled once, and not after its end', async () => {
  const { uid, deployment } = await deploy('cancelled')
  expect((await api.call('POST', `/deployments/${deployment}/cancel`)).status).toBe(202)
  expect(api.wakes).toContainEqual({ service: uid, reason: 'cancelled' })
  expect((await api.call('POST', `/deployments/${deployment}/cancel`)).status).toBe(202)
  await ended(deployment, 'cancelled')
  const late = await api.call('POST', `/deployments/${deployment}/cancel`)
  expect(late.json()).toMatchObject({ status: 409, code: 'conflict' })
  expect((await api.call('POST', '/deployments/dep-none/cancel')).status).toBe(404)
})

test('revisions are shown without their environment', async () => {
  const { uid } = await deploy('revised')
  await insertRevision(api.db, { serviceUid: uid, number: 1, readyAt: new Date() })
  await insertRevision(api.db, {
    serviceUid: uid,
    number: 2,
    failure: { reason: 'AppCrashed', message: 'x' },
  })
  const list = await api.call('GET', '/services/revised/revisions')
  const { items } = list.json<{ items: RevisionView[] }>()
  expect(items.map(({ name }) => name)).toEqual(['revised-00002', 'revised-00001'])
  expect(items[0]).toMatchObject({ number: 2, readyAt: null, failure: { reason: 'AppCrashed' }, port: 8080 })
  const one = (await api.call('GET', '/services/revised/revisions/revised-00001')).json()
  expect(one).toMatchObject({ service: 'revised', imageDigest: `sha256:${'a'.repeat(64)}` })
  expect(one).not.toHaveProperty('env')
  expect((await api.call('GET', '/services/revised/revisions/revised-00003')).status).toBe(404)
})

test('replicas are shown with their node, and counted by rung', async () => {
  const { uid } = await deploy('counted')
  const revision = await insertRevision(api.db, { serviceUid: uid })
  const node = await insertNode(api.db, { name: 'n7' })
  const place = { revisionUid: revision.uid, nodeUid: node.uid }
  const { id } = await insertReplica(api.db, { ...place, state: 'ready' })
  await insertReplica(api.db, { ...place, state: 'starting' })
  await insertReplica(api.db, { ...place, state: 'ready', rung: 'frozen' })
  await insertReplica(api.db, { ...place, state: 'ready', rung: 'parked' })
  await insertReplica(api.db, { ...place, state: 'draining' })
  await insertReplica(api.db, { ...place, state: 'failed', reason: 'OutOfMemory' })
  await api.db.execute(`insert into replica_containers values ('${id}', 'app', 'abc')`)
  const { items } = (await api.call('GET', '/services/counted/replicas')).json<{ items: ReplicaView[] }>()
  expect(items).toHaveLength(6)
  expect(items.find((replica) => replica.id === id)).toMatchObject({
    service: 'counted',
    revision: 'counted-00001',
    node: 'n7',
    state: 'ready',
    rung: 'running',
    containers: [{ name: 'app', id: 'abc' }],
  })
  const service = (await api.call('GET', '/services/counted')).json<ServiceView>()
  expect(service.status.replicas).toEqual({ desired: 2, running: 1, frozen: 1, parked: 1 })
  const shown = (await api.call('GET', '/nodes/n7')).json()
  // Running, starting, frozen and draining reserve 64 MiB each.
  expect(shown).toMatchObject({ status: { reserved: { cpu: 2, memory: '256Mi' }, replicas: 6 } })
  const removed = await api.call('DELETE', '/nodes/n7')
  expect(removed.json()).toMatchObject({ status: 409, code: 'in-use' })
})
