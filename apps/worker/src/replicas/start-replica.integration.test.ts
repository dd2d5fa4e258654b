import type { ContainerTemplate, ProbeTemplate, RevisionTemplate } from '@berth/contracts'
import { readReplica } from '@berth/db'
import { buildTemplate, createTestDatabase, type TestDatabase } from '@berth/db/testing'
import { LeaseLostError } from '@berth/engine'
import { lostFence, startFakeEngine, type FakeAppBehaviour } from '@berth/engine/testing'
import { get } from 'node:http'
import { afterAll, afterEach, beforeAll, beforeEach, expect, inject, test } from 'vitest'
import { makeSpare, removeSpareSandbox } from './spare-sandbox.ts'
import { startReplica, type StartPhase } from './start-replica.ts'
import { stopReplica } from './stop-replica.ts'
import { startReplicaBench, wantedImage, type ReplicaBench } from './testing/replica-bench.ts'

let database: TestDatabase
let bench: ReplicaBench
let behaviour: FakeAppBehaviour
beforeAll(async () => {
  database = await createTestDatabase(inject('postgresUrl'))
})
afterAll(() => database.drop())
beforeEach(async () => {
  behaviour = {}
  bench = await startReplicaBench(database.db, { app: () => behaviour })
})
afterEach(() => bench.stop())

const quiet = { onPhase: () => {} }
const names = () => bench.engine.containers().map(({ name }) => name)
const calls = (call: string) => bench.engine.calls.filter((each) => each === call).length

async function statusOf(address: string, port: number): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    get({ host: address, port, agent: false }, (response) => {
      response.resume()
      resolve(response.statusCode)
    }).on('error', reject)
  })
}

test('a started replica answers at its published port, in a sandbox of its own', async () => {
  const replica = await bench.replica({ env: { GREETING: 'hello' } })
  const phases: StartPhase[] = []
  const outcome = await startReplica(bench.deps, bench.host, replica, {
    onPhase: (phase) => phases.push(phase),
  })
  if (outcome.kind !== 'ready') throw new Error(JSON.stringify(outcome))
  expect(phases).toEqual(['starting', 'probing'])
  expect(outcome.hostPort).toBe(replica.hostPort)
  expect(await statusOf(replica.address, outcome.hostPort)).toBe(200)

  const { installation } = bench.deps
  expect(names()).toEqual([
    `berth-${installation}-${replica.id}-sandbox`,
    `berth-${installation}-${replica.id}-app`,
  ])
  const app = bench.engine.containers().find(({ name }) => name.endsWith('-app'))
  expect(app?.body.Env).toEqual(
    expect.arrayContaining([
      'GREETING=hello',
      'PORT=8080',
      `K_SERVICE=${replica.service}`,
      `K_REVISION=${replica.revision}`,
      `K_CONFIGURATION=${replica.service}`,
    ]),
  )
  expect(app?.body.Labels).toEqual({
    'berth.installation': installation,
    'berth.project': 'default',
    'berth.service': replica.service,
    'berth.revision': replica.revision,
    'berth.replica': replica.id,
    'berth.role': 'app',
  })
  expect((await readReplica(database.db, replica.id))?.containers).toEqual(outcome.containers)
})

test('starting again what runs already makes nothing new', async () => {
  const replica = await bench.replica()
  const first = await startReplica(bench.deps, bench.host, replica, quiet)
  const again = await bench.again(replica)
  expect(await startReplica(bench.deps, bench.host, again, quiet)).toEqual(first)
  expect(names()).toHaveLength(2)
})

test.each(['POST /networks/create', 'POST /containers/create', 'POST /containers/*/start'] as const)(
  'a leader that died at "%s" is followed by one that takes the start up',
  async (route) => {
    const replica = await bench.replica()
    for (const before of [true, false]) {
      const stopping = new AbortController()
      stopping.abort()
      bench.engine.cut(route, { before, times: 1 })
      await startReplica(bench.deps, bench.host, replica, { ...quiet, signal: stopping.signal })
      bench.engine.release()
    }
    const again = await bench.again(replica)
    const outcome = await startReplica(bench.deps, bench.host, again, quiet)
    expect(outcome.kind).toBe('ready')
    expect(names()).toHaveLength(2)
  },
)

test('an app that ends is reported with its exit code and last lines, without values of variables', async () => {
  behaviour = { listenAfterMs: 'never', exitAfterMs: 20, exitCode: 3, prints: ['boom with hunter2-secret'] }
  const replica = await bench.replica({ env: { PASSWORD: 'hunter2-secret' } })
  const outcome = await startReplica(bench.deps, bench.host, replica, quiet)
  expect(outcome).toMatchObject({ kind: 'failed', reason: 'AppCrashed' })
  if (outcome.kind !== 'failed') return
  expect(outcome.message).toContain('exit code 3')
  expect(outcome.message).toContain('boom with ***')
  expect(names()).toEqual([])
})

test('an app that needs more memory than it may have is told its limit', async () => {
  behaviour = { listenAfterMs: 'never', exitAfterMs: 20, exitCode: 137, oomKilled: true }
  const outcome = await startReplica(bench.deps, bench.host, await bench.replica(), quiet)
  expect(outcome).toMatchObject({ kind: 'failed', reason: 'OutOfMemory' })
  if (outcome.kind === 'failed') expect(outcome.message).toContain('64Mi')
})

test('an app that never listens fails at the deadline with what was expected', async () => {
  behaviour = { listenAfterMs: 'never' }
  const outcome = await startReplica(bench.deps, bench.host, await bench.replica(), {
    ...quiet,
    deadlineMs: 300,
  })
  expect(outcome).toMatchObject({ kind: 'failed', reason: 'NotListening' })
  if (outcome.kind === 'failed') expect(outcome.message).toContain(':8080, found nothing')
  expect(names()).toEqual([])
})

test('a readiness probe holds the replica back until it succeeds', async () => {
  let asked = 0
  behaviour = {
    handle: (request, response) => {
      if (request.url === '/ready') asked += 1
      response.statusCode = asked < 3 ? 503 : 200
      response.end()
    },
  }
  const probing = probed({ readinessProbe: askOnce({ kind: 'httpGet', path: '/ready', headers: [] }) })
  const outcome = await startReplica(
    bench.deps,
    bench.host,
    await bench.replica({ template: probing }),
    quiet,
  )
  expect(outcome.kind).toBe('ready')
  expect(asked).toBe(3)

  behaviour = { handle: (_request, response) => void response.writeHead(500).end() }
  const failing = await startReplica(bench.deps, bench.host, await bench.replica({ template: probing }), {
    ...quiet,
    deadlineMs: 5_000,
  })
  expect(failing).toMatchObject({ kind: 'failed', reason: 'ProbeFailed' })
  if (failing.kind === 'failed') expect(failing.message).toContain('GET /ready: status 500')
})

test('a liveness probe that nobody can put to the app on this node fails the start at once', async () => {
  behaviour = {}
  const replica = await bench.replica({
    template: probed({ livenessProbe: askOnce({ kind: 'grpc', port: 9090 }) }),
  })
  const elsewhere = { kind: 'tcp', host: '127.0.0.1', port: 1 } as const
  const host = { ...bench.host, runtime: { ...bench.host.runtime, endpoint: elsewhere } }
  const outcome = await startReplica(bench.deps, host, replica, quiet)
  expect(outcome).toMatchObject({ kind: 'failed', reason: 'ProbeFailed' })
  if (outcome.kind === 'failed') expect(outcome.message).toContain('a grpc probe of port 9090 needs a node')
  expect(names()).toEqual([])
})

test('an engine that refuses is a failed start that leaves nothing', async () => {
  bench.engine.fail('POST /containers/*/start', { status: 500, message: 'no more pids' })
  const outcome = await startReplica(bench.deps, bench.host, await bench.replica(), quiet)
  expect(outcome).toMatchObject({ kind: 'failed', reason: 'EngineError' })
  if (outcome.kind === 'failed') expect(outcome.message).toContain('no more pids')
  expect(names()).toEqual([])
})

test("a sandbox's image that somebody has pruned is brought back", async () => {
  bench.engine.state.images.delete(bench.engine.addImage(bench.host.sandboxImage).id)
  const outcome = await startReplica(bench.deps, bench.host, await bench.replica(), quiet)
  expect(outcome.kind).toBe('ready')
})

test('a node that does not keep the image of sandboxes says nothing about the image of the app', async () => {
  bench.engine.state.images.delete(bench.engine.addImage(bench.host.sandboxImage).id)
  const host = { ...bench.host, restoreSandboxImage: async () => {} }
  const outcome = await startReplica(bench.deps, host, await bench.replica(), quiet)
  expect(outcome).toMatchObject({ kind: 'failed', reason: 'EngineError' })
})

test('whoever lost the lease starts nothing', async () => {
  const deps = { ...bench.deps, fence: lostFence }
  const attempt = startReplica(deps, bench.host, await bench.replica(), quiet)
  await expect(attempt).rejects.toBeInstanceOf(LeaseLostError)
  expect(names()).toEqual([])
  expect(bench.engine.calls.filter((call) => call.startsWith('POST'))).toEqual([])
})

test('a subnet that the machine uses already is replaced by the next one', async () => {
  bench.engine.fail('POST /networks/create', {
    status: 403,
    message: 'Pool overlaps with other one on this address space',
    times: 2,
  })
  const outcome = await startReplica(bench.deps, bench.host, await bench.replica(), quiet)
  expect(outcome.kind).toBe('ready')
  expect(calls('POST /networks/create')).toBe(3)
})

test('a spare sandbox is taken, and its port is the one that answers', async () => {
  const replica = await bench.replica()
  const spare = await makeSpare(bench.deps, bench.host, { ...replica, containerPort: 8080 })
  const outcome = await startReplica(bench.deps, bench.host, replica, quiet)
  expect(outcome).toMatchObject({
    kind: 'ready',
    hostPort: spare?.hostPort,
    containers: { sandbox: spare?.containerId },
  })
  expect(spare?.hostPort).not.toBe(replica.hostPort)
  expect(await statusOf(replica.address, spare?.hostPort ?? 0)).toBe(200)
  expect(names()).toHaveLength(2)

  const again = await bench.again(replica)
  expect(await startReplica(bench.deps, bench.host, again, quiet)).toEqual(outcome)
  await stopReplica(bench.deps, bench.host, again, { graceSeconds: 0 })
  expect(names()).toEqual([])
})

test('a spare that is still being made is joined instead of making another sandbox', async () => {
  const replica = await bench.replica()
  bench.engine.hang('POST /containers/*/start', { times: 1 })
  const making = makeSpare(bench.deps, bench.host, { ...replica, containerPort: 8080 })
  await expect.poll(() => calls('POST /containers/create'), { timeout: 20_000 }).toBe(1)
  await expect
    .poll(() => bench.engine.calls.some((call) => call.endsWith('/start')), { timeout: 20_000 })
    .toBe(true)
  const starting = startReplica(bench.deps, bench.host, replica, quiet)
  const outcome = await starting
  bench.engine.release()
  await making
  expect(outcome.kind).toBe('ready')
  expect(names().filter((name) => name.endsWith('-sandbox'))).toHaveLength(1)
})

test.each([
  { what: 'dead', end: (id: string) => bench.engine.exit(id) },
  { what: 'gone', end: (id: string) => bench.engine.state.remove(bench.engine.state.find(id)) },
])('a spare that is $what is replaced by a sandbox of its own', async ({ end }) => {
  const replica = await bench.replica()
  const spares = [await makeSpare(bench.deps, bench.host, { ...replica, containerPort: 8080 })]
  spares.push(await makeSpare(bench.deps, bench.host, { ...replica, containerPort: 8080 }))
  for (const spare of spares) end(spare?.containerId ?? '')
  const outcome = await startReplica(bench.deps, bench.host, replica, quiet)
  if (outcome.kind !== 'ready') throw new Error(JSON.stringify(outcome))
  expect(await statusOf(replica.address, outcome.hostPort)).toBe(200)

  const again = await bench.again(replica)
  expect(again).toMatchObject({ hostPort: outcome.hostPort, containers: outcome.containers })
  expect(await bench.deps.rows.spareOfReplica(replica.id)).toBeNull()
  await stopReplica(bench.deps, bench.host, again, { graceSeconds: 0 })
  expect(names().filter((name) => name.includes(replica.id))).toEqual([])
})

test('a spare that is not wanted leaves nothing', async () => {
  const replica = await bench.replica()
  const spare = await makeSpare(bench.deps, bench.host, { ...replica, containerPort: 8080 })
  if (spare === null) throw new Error('no spare')
  await removeSpareSandbox(bench.deps, bench.host, spare)
  await removeSpareSandbox(bench.deps, bench.host, spare)
  expect(names()).toEqual([])
  const outcome = await startReplica(bench.deps, bench.host, replica, quiet)
  expect(outcome).toMatchObject({ kind: 'ready', hostPort: replica.hostPort })
})

test('a missing image is pulled once for all that need it, with progress as a phase', async () => {
  const away = await startReplicaBench(database.db, { imagePresent: false })
  try {
    const { imageRepository, imageDigest } = wantedImage
    away.engine.addRemoteImage(`${imageRepository}@${imageDigest}`)
    away.engine.delay('POST /images/create', { ms: 200 })
    const told: string[] = []
    const replicas = [await away.replica(), await away.replica(), await away.replica()]
    const outcomes = await Promise.all(
      replicas.map((replica) =>
        startReplica(away.deps, away.host, replica, {
          onPhase: (phase, message) => phase === 'pulling' && told.push(message),
        }),
      ),
    )
    expect(outcomes.map(({ kind }) => kind)).toEqual(['ready', 'ready', 'ready'])
    expect(away.engine.calls.filter((call) => call === 'POST /images/create')).toHaveLength(1)
    expect(told).toContain('pulling acme/app')
  } finally {
    await away.stop()
  }
})

test('a start that is called off does not wait for its pull, which goes on for others', async () => {
  const away = await startReplicaBench(database.db, { imagePresent: false })
  try {
    const { imageRepository, imageDigest } = wantedImage
    away.engine.addRemoteImage(`${imageRepository}@${imageDigest}`)
    away.engine.hang('POST /images/create')
    const callOff = new AbortController()
    const phases: string[] = []
    const [one, other] = [await away.replica(), await away.replica()]
    const calledOff = startReplica(away.deps, away.host, one, {
      onPhase: (phase) => phases.push(phase),
      signal: callOff.signal,
    })
    const goingOn = startReplica(away.deps, away.host, other, quiet)
    await expect.poll(() => phases, { timeout: 20_000 }).toContain('pulling')
    callOff.abort()
    expect(await calledOff).toEqual({ kind: 'aborted' })
    await stopReplica(away.deps, away.host, await away.again(one))
    away.engine.release()
    expect((await goingOn).kind).toBe('ready')
    expect(away.engine.containers().every(({ name }) => name.includes(other.id))).toBe(true)
  } finally {
    await away.stop()
  }
})

test('an image that the registry does not have, or of another processor, fails with that reason', async () => {
  const away = await startReplicaBench(database.db, { imagePresent: false })
  try {
    const missing = await startReplica(away.deps, away.host, await away.replica(), quiet)
    expect(missing).toMatchObject({ kind: 'failed', reason: 'ImageNotFound' })
    const { imageRepository, imageDigest } = wantedImage
    away.engine.addRemoteImage(`${imageRepository}@${imageDigest}`, { architecture: 'arm64' })
    const alien = await startReplica(away.deps, away.host, await away.replica(), quiet)
    expect(alien).toMatchObject({ kind: 'failed', reason: 'ArchitectureMismatch' })
    expect(away.engine.containers()).toEqual([])
  } finally {
    await away.stop()
  }
})

test('a node that cannot reach the registry, while the worker cannot either, says so', async () => {
  const neighbour = await startFakeEngine()
  const away = await startReplicaBench(database.db, { imagePresent: false, otherEngines: [neighbour] })
  try {
    away.engine.fail('POST /images/create', {
      status: 500,
      message: 'Get "https://registry.test/v2/": dial tcp: connect: connection refused',
    })
    const outcome = await startReplica(away.deps, away.host, await away.replica(), quiet)
    expect(outcome).toMatchObject({ kind: 'failed', reason: 'RegistryUnreachable' })
    expect(away.engine.containers()).toEqual([])
  } finally {
    await away.stop()
    await neighbour.stop()
  }
})

function askOnce(check: ProbeTemplate['check']): ProbeTemplate {
  return {
    check,
    initialDelaySeconds: 0,
    periodSeconds: 1,
    timeoutSeconds: 5,
    successThreshold: 1,
    failureThreshold: 3,
  }
}

function probed(probes: Pick<ContainerTemplate, 'readinessProbe' | 'livenessProbe'>): RevisionTemplate {
  const template = buildTemplate()
  return { ...template, containers: template.containers.map((container) => ({ ...container, ...probes })) }
}
