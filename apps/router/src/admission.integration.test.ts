import type { RequestListener, ServerResponse } from 'node:http'
import { afterEach, expect, test } from 'vitest'
import { ask, eventually, startApp, startEdge, type Answer, type App, type Edge } from './testing/edge.ts'
import { aHost, aReplica, aRevision } from './testing/routes.ts'

let edge: Edge | undefined
const apps: App[] = []

afterEach(async () => {
  await edge?.close()
  edge = undefined
  await Promise.all(apps.splice(0).map((app) => app.close()))
})

async function app(listener: RequestListener): Promise<App> {
  const started = await startApp(listener)
  apps.push(started)
  return started
}

/** An app that answers when it is told to. */
async function holding() {
  const open: ServerResponse[] = []
  const started = await app((request, response) => {
    request.resume()
    open.push(response)
  })
  return {
    port: started.port,
    open,
    releaseAll: () => open.splice(0).forEach((response) => response.end('done')),
  }
}

test('100 requests wait for a revision without replicas; two at once never meet in one replica', async () => {
  const revision = aRevision({ concurrency: 1, queueDeadlineMs: 60_000, timeoutMs: 60_000 })
  const { port, change, leader } = (edge = await startEdge({ revisions: [revision] }))
  let most = 0
  const ports = await Promise.all(
    Array.from({ length: 10 }, async () => {
      let inside = 0
      const { port } = await app((_request, response) => {
        inside += 1
        most = Math.max(most, inside)
        setTimeout(() => {
          inside -= 1
          response.end('ok')
        }, 10)
      })
      return port
    }),
  )
  const answers = Array.from({ length: 100 }, () => ask({ port }))
  await eventually(() => leader.last('demand')?.queued === 100)
  expect(leader.last('demand')).toMatchObject({ revision: 'rev-1', queued: 100, inFlight: 0 })
  // The slots come one replica after the other: whoever waits longest binds to whatever is free.
  ports.forEach((_port, index) =>
    change({ ...revision, replicas: ports.slice(0, index + 1).map((p, i) => aReplica(`r${i}`, p)) }),
  )
  const statuses = (await Promise.all(answers)).map((answer) => answer.status)
  expect(statuses).toEqual(Array.from({ length: 100 }, () => 200))
  expect(most).toBe(1)
})

test('waiting ends at the deadline: 503 while more replicas may come, 429 when none can', async () => {
  const { port, change, leader } = (edge = await startEdge({
    revisions: [aRevision({ queueDeadlineMs: 100 })],
  }))
  const starting = await ask({ port })
  expect(starting.status).toBe(503)
  expect(JSON.parse(starting.body)).toMatchObject({ code: 'no-replica' })
  expect(Number(starting.headers['retry-after'])).toBeGreaterThan(0)
  change(aRevision({ queueDeadlineMs: 100, lateBecause: 'ProbeFailed' }))
  await expect
    .poll(async () => (JSON.parse((await ask({ port })).body) as { detail: string }).detail)
    .toBe('No replica became ready in time. ProbeFailed: The readiness probe does not succeed.')
  const { version } = change(aRevision({ queueDeadlineMs: 100, atMaxScale: true }))
  await eventually(() => leader.last('acknowledge')?.version.sequence === version.sequence)
  expect(JSON.parse((await ask({ port })).body)).toMatchObject({ status: 503, code: 'no-replica' })

  const held = await holding()
  const busy = { queueDeadlineMs: 100, atMaxScale: true, concurrency: 1 }
  change(aRevision({ ...busy, replicas: [aReplica('r1', held.port)] }))
  const first = ask({ port })
  await eventually(() => held.open.length === 1)
  expect((await ask({ port })).status).toBe(429)
  held.releaseAll()
  expect((await first).status).toBe(200)
})

test('a request timeout that is as short as the queue deadline is no fault of the app either', async () => {
  const revision = aRevision({ queueDeadlineMs: 200, timeoutMs: 200 })
  const { port } = (edge = await startEdge({ revisions: [revision] }))
  const answer = await ask({ port })
  expect(JSON.parse(answer.body)).toMatchObject({ status: 503, code: 'no-replica' })
  expect(Number(answer.headers['retry-after'])).toBeGreaterThan(0)
})

test('why a revision cannot start is told to strangers without what the app printed', async () => {
  const blocked = { reason: 'AppCrashed', message: 'exit code 1; its last lines were:\nsecret=hunter2' }
  const { port } = (edge = await startEdge({ revisions: [aRevision({ blocked })] }))
  const answer = await ask({ port })
  expect(answer.headers['retry-after']).toBe('10')
  expect(JSON.parse(answer.body)).toMatchObject({
    code: 'revision-failed',
    detail: 'AppCrashed: The app ended while it was starting or serving.',
  })
})

test('when nothing can be placed, who waits and who comes hears it at once', async () => {
  const revision = aRevision({ queueDeadlineMs: 60_000 })
  const { port, change, leader } = (edge = await startEdge({ revisions: [revision] }))
  const waiting = [ask({ port }), ask({ port, method: 'POST', body: 'x' })]
  await eventually(() => leader.last('demand')?.queued === 2)
  change({ ...revision, blocked: { reason: 'Unplaceable', message: '2 nodes: memory 1Gi asked' } })
  for (const answer of [...(await Promise.all(waiting)), await ask({ port })]) {
    expect(answer.status).toBe(503)
    expect(JSON.parse(answer.body)).toMatchObject({
      code: 'unplaceable',
      detail: 'Unplaceable: 2 nodes: memory 1Gi asked',
    })
  }
})

test('who waits for a revision that the traffic has left goes where the traffic went', async () => {
  const newer = await app((_request, response) => response.end('newer'))
  const { port, publish, leader } = (edge = await startEdge({ revisions: [aRevision({ uid: 'rev-1' })] }))
  const waiting = [ask({ port }), ask({ port, method: 'POST', body: 'x' })]
  await eventually(() => leader.last('demand')?.queued === 2)
  publish({
    hosts: [aHost({ targets: [{ revision: 'rev-2', percent: 100 }] })],
    revisions: [aRevision({ uid: 'rev-2', name: 'hello-00002', replicas: [aReplica('r2', newer.port)] })],
  })
  expect((await Promise.all(waiting)).map(({ body }) => body)).toEqual(['newer', 'newer'])
})

test('who waits for a revision that nobody replaces is told at once', async () => {
  const { port, publish, leader } = (edge = await startEdge())
  const waiting = ask({ port })
  await eventually(() => leader.last('demand')?.queued === 1)
  publish({ hosts: [], revisions: [] })
  expect(JSON.parse((await waiting).body)).toMatchObject({ status: 503, code: 'no-replica' })
})

test('a client that leaves keeps its slot at concurrency 1 until the app is done', async () => {
  const held = await holding()
  const replicas = [aReplica('r1', held.port)]
  const { port, leader } = (edge = await startEdge({ revisions: [aRevision({ concurrency: 1, replicas })] }))
  const leaving = new AbortController()
  const gone = ask({ port, signal: leaving.signal }).catch(() => 'gone')
  await eventually(() => held.open.length === 1)
  leaving.abort()
  expect(await gone).toBe('gone')
  const next = ask({ port })
  await eventually(() => leader.last('demand')?.queued === 1)
  expect(leader.last('demand')).toMatchObject({ queued: 1, inFlight: 1 })
  expect(held.open).toHaveLength(1)
  held.releaseAll()
  await eventually(() => held.open.length === 1)
  held.releaseAll()
  expect((await next).status).toBe(200)
})

test('a client that leaves at a higher concurrency takes its connection along', async () => {
  const held = await holding()
  const replicas = [aReplica('r1', held.port)]
  const { port } = (edge = await startEdge({ revisions: [aRevision({ concurrency: 4, replicas })] }))
  const leaving = new AbortController()
  const gone = ask({ port, signal: leaving.signal }).catch(() => 'gone')
  await eventually(() => held.open.length === 1)
  leaving.abort()
  await gone
  await eventually(() => held.open[0]?.destroyed)
})

test('a client that leaves while it waits is forgotten', async () => {
  const { port, leader } = (edge = await startEdge())
  const leaving = new AbortController()
  const gone = ask({ port, signal: leaving.signal }).catch(() => 'gone')
  await eventually(() => leader.last('demand')?.queued === 1)
  leaving.abort()
  await gone
  await eventually(() => leader.last('report')?.revisions[0]?.queued === 0)
})

test('a withdrawn replica lingers until its last answer, then its sockets are closed', async () => {
  const held = await holding()
  const revision = aRevision({ replicas: [aReplica('r1', held.port)] })
  const { port, change, leader } = (edge = await startEdge({ revisions: [revision] }))
  const answers: Promise<Answer>[] = [ask({ port }), ask({ port })]
  await eventually(() => held.open.length === 2)
  const sockets = held.open.map((response) => response.socket)
  const { version } = change({ ...revision, replicas: [] })
  const first = await eventually(() => {
    const frame = leader.last('acknowledge')
    return frame?.version.sequence === version.sequence && frame
  })
  expect(first.lingering).toEqual(['r1'])
  held.releaseAll()
  expect((await Promise.all(answers)).map(({ status }) => status)).toEqual([200, 200])
  await eventually(() => leader.last('acknowledge')?.lingering.length === 0)
  await eventually(() => sockets.every((socket) => socket === null || socket.destroyed))
})

test('a replica that comes back while it lingers keeps its taken slots', async () => {
  const held = await holding()
  const revision = aRevision({ concurrency: 1, replicas: [aReplica('r1', held.port)] })
  const { port, change, leader } = (edge = await startEdge({ revisions: [revision] }))
  const first = ask({ port })
  await eventually(() => held.open.length === 1)
  change({ ...revision, replicas: [] })
  await eventually(() => leader.last('acknowledge')?.lingering.length === 1)
  change(revision)
  const second = ask({ port })
  await eventually(() => leader.last('demand')?.queued === 1)
  expect(held.open).toHaveLength(1)
  held.releaseAll()
  await eventually(() => held.open.length === 1)
  held.releaseAll()
  expect((await Promise.all([first, second])).map(({ status }) => status)).toEqual([200, 200])
})

test('a service that is flooded keeps what it cannot do to itself: others are answered as ever', async () => {
  const flooded = await holding()
  const calm = await app((_request, response) => response.end('calm'))
  const full = { queueDeadlineMs: 60_000, timeoutMs: 60_000, atMaxScale: true, concurrency: 1 }
  const { port, leader } = (edge = await startEdge(
    {
      hosts: [
        aHost(),
        aHost({ host: 'calm.localhost', service: 'calm', targets: [{ revision: 'rev-2', percent: 100 }] }),
      ],
      revisions: [
        aRevision({ ...full, replicas: [aReplica('r1', flooded.port)] }),
        aRevision({ uid: 'rev-2', service: 'calm', replicas: [aReplica('r2', calm.port)] }),
      ],
    },
    { BERTH_ROUTER_QUEUE_LIMIT: '500' },
  ))
  const flood = Array.from({ length: 600 }, () => ask({ port }).catch(() => undefined))
  await eventually(() => leader.last('demand')?.queued === 500)
  const answers = await Promise.all(Array.from({ length: 50 }, () => ask({ port, host: 'calm.localhost' })))
  expect(answers.map(({ status, body }) => `${status} ${body}`)).toEqual(answers.map(() => '200 calm'))
  // All of that while not one of the flood has moved.
  expect(flooded.open).toHaveLength(1)
  expect(leader.last('demand')?.queued).toBe(500)
  await edge.close()
  edge = undefined
  await Promise.all(flood)
})
