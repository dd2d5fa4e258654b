import type {
  DeploymentView,
  ReplicaView,
  RevisionView,
  ServiceEventView,
  ServiceView,
} from '@berth/contracts'
import { insertNode, insertReplica, insertRevision } from '@berth/db/testing'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
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

test('restarts and failures of replicas are listed page by page, the latest first', async () => {
  const { uid } = await deploy('restless')
  for (const [minute, reason] of ['AppCrashed', 'OutOfMemory', 'LivenessFailed'].entries())
    await api.db.execute(
      `insert into service_events (service_uid, at, first_at, count, kind, revision, node, replica_id, reason, message)
       values ('${uid}', '2030-01-01T00:0${minute}:30Z', '2030-01-01T00:0${minute}:00Z', ${minute + 1}, 'ReplicaRestarted', 'restless-00001', 'n1', 'rep-1', '${reason}', 'x')`,
    )
  type Page = { items: ServiceEventView[]; nextCursor: string | null }
  const first = (await api.call('GET', '/services/restless/events?limit=2')).json<Page>()
  expect(first.items.map(({ reason }) => reason)).toEqual(['LivenessFailed', 'OutOfMemory'])
  expect(first.items[0]).toEqual({
    at: '2030-01-01T00:02:30.000Z',
    firstAt: '2030-01-01T00:02:00.000Z',
    count: 3,
    kind: 'ReplicaRestarted',
    revision: 'restless-00001',
    node: 'n1',
    replica: 'rep-1',
    reason: 'LivenessFailed',
    message: 'x',
  })
  const next = await api.call('GET', `/services/restless/events?limit=2&cursor=${first.nextCursor}`)
  expect(next.json<Page>()).toMatchObject({ items: [{ reason: 'AppCrashed' }], nextCursor: null })
})

describe('a rollout in steps', () => {
  const moved = (deployment: string, percent: number) =>
    api.db.execute(
      `update deployments set phase = 'shifting', rollout = '{"previous": "x-00001", "percent": ${percent}, "startedAt": "2030-01-01T00:00:00.000Z", "shiftedAt": "2030-01-01T00:00:00.000Z", "acknowledgedAt": null}' where id = '${deployment}'`,
    )
  const wishes = async (deployment: string) =>
    (
      await api.db.execute(
        `select paused_at, promote_from, promote_to, abort_requested_at from deployments where id = '${deployment}'`,
      )
    ).rows[0]
  const say = (deployment: string, verb: string, body?: unknown) =>
    api.call('POST', `/deployments/${deployment}/${verb}`, body === undefined ? {} : { body })

  async function rollOut(name: string, rollout: Record<string, unknown> = { strategy: 'gradual' }) {
    const body = { name, image: '127.0.0.1:5050/hello:1', rollout }
    const { uid, deployment } = (await api.call('POST', '/services', { body })).json<ServiceView>()
    return { uid, deployment: deployment?.id ?? '' }
  }

  test('has its steps and interval filled in, and shows how far it is', async () => {
    const { deployment } = await rollOut('stepping')
    const service = (await api.call('GET', '/services/stepping')).json<ServiceView>()
    expect(service.rollout).toEqual({
      strategy: 'gradual',
      steps: [1, 10, 25, 50, 100],
      intervalSeconds: 30,
      maxErrorPercent: 50,
    })
    expect((await api.call('GET', `/deployments/${deployment}`)).json()).toMatchObject({
      rollout: null,
      paused: false,
    })
    await moved(deployment, 10)
    expect((await api.call('GET', `/deployments/${deployment}`)).json()).toMatchObject({
      rollout: { previous: 'x-00001', percent: 10, acknowledgedAt: null },
    })
  })

  test.each([
    [{ strategy: 'sometimes' }, 'rollout.strategy'],
    [{ steps: [] }, 'rollout.steps'],
    [{ steps: [0] }, 'rollout.steps.0'],
    [{ steps: [10, 101] }, 'rollout.steps.1'],
    [{ steps: [10, 10] }, 'rollout.steps.1'],
    [{ steps: [33.3] }, 'rollout.steps.0'],
    [{ intervalSeconds: 0 }, 'rollout.intervalSeconds'],
    [{ intervalSeconds: 86_401 }, 'rollout.intervalSeconds'],
    [{ maxErrorPercent: 100 }, 'rollout.maxErrorPercent'],
    [{ maxErrorPercent: 'sometimes' }, 'rollout.maxErrorPercent'],
    [{ speed: 1 }, 'rollout.speed'],
  ])('with %j is refused by the name of the field', async (rollout, path) => {
    const body = { name: 'bad-rollout', image: 'hello:1', rollout }
    const answer = await api.call('POST', '/services', { body })
    expect(answer.json()).toMatchObject({ status: 422, errors: [{ path }] })
  })

  test('is promoted to its next step or to a percent, paused, resumed and aborted', async () => {
    const { uid, deployment } = await rollOut('told')
    await moved(deployment, 10)
    expect((await say(deployment, 'promote')).status).toBe(202)
    expect(api.wakes).toContainEqual({ service: uid, reason: 'updated' })
    expect(await wishes(deployment)).toMatchObject({ promote_from: 10, promote_to: null })
    expect((await say(deployment, 'promote', { percent: 50 })).status).toBe(202)
    expect((await say(deployment, 'promote', { percent: 30 })).status).toBe(202)
    expect(await wishes(deployment)).toMatchObject({ promote_to: 50 })
    expect((await say(deployment, 'pause')).json()).toMatchObject({ paused: true })
    expect((await say(deployment, 'pause')).status).toBe(202)
    expect((await say(deployment, 'resume')).json()).toMatchObject({ paused: false })
    expect((await say(deployment, 'abort')).status).toBe(202)
    expect(await wishes(deployment)).toMatchObject({ abort_requested_at: expect.anything() })
  })

  test('is rolled back to what it takes the traffic from', async () => {
    const { deployment } = await rollOut('going-back')
    await moved(deployment, 10)
    const back = (await api.call('POST', '/services/going-back/rollback')).json<ServiceView>()
    expect(back.pinnedRevision).toBe('x-00001')
    await moved(deployment, 100)
    expect((await api.call('POST', '/services/going-back/rollback')).status).toBe(409)
  })

  test('refuses what makes no sense, and says why', async () => {
    const { deployment } = await rollOut('refusing')
    const refused = async (verb: string, body?: unknown) =>
      (await say(deployment, verb, body)).json<{ status: number; detail: string }>()
    const conflict = (detail: string) => ({
      status: 409,
      code: 'conflict',
      detail: expect.stringContaining(detail),
    })
    expect(await refused('promote')).toMatchObject(conflict('not begun to move: the deployment is queued'))
    expect(await refused('resume')).toMatchObject(conflict('not paused'))
    await moved(deployment, 50)
    expect(await refused('promote', { percent: 50 })).toMatchObject(
      conflict('has 50 % of the traffic already'),
    )
    for (const percent of [0, 101, 12.5, '50'])
      expect(await refused('promote', { percent })).toMatchObject({
        status: 422,
        errors: [{ path: 'percent' }],
      })
    await moved(deployment, 100)
    for (const verb of ['promote', 'pause', 'abort'])
      expect(await refused(verb)).toMatchObject(conflict('all of the traffic already'))
    await ended(deployment, 'succeeded')
    for (const verb of ['promote', 'pause', 'resume', 'abort'])
      expect(await refused(verb)).toMatchObject(conflict('ended already: it is succeeded'))
    for (const verb of ['promote', 'pause', 'resume', 'abort'])
      expect((await say('dep-none', verb)).status).toBe(404)
  })

  test('is what promote, pause and resume are for, and abort stops any deployment', async () => {
    const { deployment } = await rollOut('at-once', {})
    for (const verb of ['promote', 'pause', 'resume'])
      expect((await say(deployment, verb)).json()).toMatchObject({
        status: 409,
        detail: expect.stringContaining('"immediate"'),
      })
    expect((await say(deployment, 'abort')).status).toBe(202)
  })
})
