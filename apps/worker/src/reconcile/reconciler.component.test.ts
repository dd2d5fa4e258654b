import {
  newId,
  type DeploymentId,
  type DeploymentTrigger,
  type RevisionTemplate,
  type ServiceUid,
} from '@berth/contracts'
import { Keyring, notifyServiceChanged, schema } from '@berth/db'
import {
  buildTemplate,
  createTestDatabase,
  insertNode,
  insertService,
  type TestDatabase,
} from '@berth/db/testing'
import { startFakeRegistry, type FakeRegistry } from '@berth/engine/testing'
import { setTimeout as delay } from 'node:timers/promises'
import { pino } from 'pino'
import { afterEach, beforeEach, describe, expect, inject, test, vi } from 'vitest'
import { startReconciler, type Reconciler } from './reconciler.ts'
import { startSweep } from './sweep.ts'
import { standInLeader, type StandInLeader } from './testing/stand-in-leader.ts'

const keyring = new Keyring(Buffer.alloc(32, 7))
const log = pino({ level: process.env['BERTH_TEST_LOG'] ?? 'silent' })

let database: TestDatabase
let registry: FakeRegistry
let leader: StandInLeader
let reconciler: Reconciler

beforeEach(async () => {
  database = await createTestDatabase(inject('postgresUrl'))
  registry = await startFakeRegistry()
  registry.addImage({ repository: 'hello', tag: '1' })
  leader = await standInLeader(database.db, database.url)
  reconciler = start()
  await insertNode(database.db, { name: 'n1' })
})

afterEach(async () => {
  await reconciler.close()
  await leader.close()
  await registry.stop()
  await database.drop()
})

function start(logger = log): Reconciler {
  return startReconciler({
    db: database.db,
    databaseUrl: database.url,
    redisUrl: inject('redisUrl'),
    installation: newId('WorkerId').slice(4),
    worker: newId('WorkerId'),
    keyring,
    registryAccess: () => ({
      platformRegistry: registry.address,
      allowedHosts: [],
      credentials: () => undefined,
    }),
    log: logger,
  })
}

function template(tag: string, change: Partial<RevisionTemplate> = {}): RevisionTemplate {
  const [container] = buildTemplate().containers
  if (!container) throw new Error('a template has a container')
  return buildTemplate({
    containers: [{ ...container, image: `${registry.address}/hello:${tag}` }],
    ...change,
  })
}

async function createService(change: Partial<typeof schema.services.$inferInsert> = {}) {
  const uid = newId('ServiceUid')
  const env = keyring.seal(JSON.stringify({ A: 'b' }), `service:${uid}:env`)
  return insertService(database.db, { uid, template: template('1'), env, ...change })
}

/** What the API does for a change of the template: one transaction, then a notification. */
async function deploy(
  service: ServiceUid,
  generation: number,
  trigger: DeploymentTrigger = 'update',
  revisionSuffix: string | null = null,
): Promise<DeploymentId> {
  const id = newId('DeploymentId')
  const project = (await read()).project
  await database.db.insert(schema.deployments).values({
    id,
    projectUid: project,
    serviceUid: service,
    serviceName: 'any',
    generation,
    trigger,
    createdBy: 'test',
    revisionSuffix,
  })
  await notifyServiceChanged(database.db, service)
  return id
}

async function change(service: ServiceUid, set: string): Promise<void> {
  await database.db.execute(`update services set ${set} where uid = '${service}'`)
  await notifyServiceChanged(database.db, service)
}

async function useTemplate(service: ServiceUid, generation: number, next: RevisionTemplate): Promise<void> {
  const json = JSON.stringify(next).replaceAll("'", "''")
  await database.db.execute(
    `update services set generation = ${generation}, template = '${json}'::jsonb where uid = '${service}'`,
  )
}

async function read() {
  const { db } = database
  const [projects, services, status, deployments, events, revisions, replicas, leases] = await Promise.all([
    db.select().from(schema.projects),
    db.select().from(schema.services),
    db.select().from(schema.serviceStatus),
    db.select().from(schema.deployments),
    db.select().from(schema.deploymentEvents),
    db.select().from(schema.revisions),
    db.select().from(schema.replicas),
    db.select().from(schema.leases),
  ])
  const [project] = projects
  if (!project) throw new Error('the default project is not there')
  return {
    project: project.uid,
    services,
    status: status[0],
    ready: status[0]?.conditions[0],
    deployments,
    events,
    revisions,
    replicas,
    leases,
  }
}

const patient = { timeout: 40_000, interval: 60 }

async function ended(id: DeploymentId) {
  return vi.waitFor(async () => {
    const deployment = (await read()).deployments.find((row) => row.id === id)
    if (!deployment?.finishedAt) throw new Error(`still ${deployment?.phase} (${deployment?.reason})`)
    return deployment
  }, patient)
}

/** Gives what `check` gives, once it no longer throws. */
function eventually<T>(check: (state: Awaited<ReturnType<typeof read>>) => T): Promise<T> {
  return vi.waitFor(async () => check(await read()), patient)
}

describe('a deployment', () => {
  test('brings the first revision to serve', async () => {
    const { uid, name } = await createService()
    const deployment = await ended(await deploy(uid, 1, 'create'))
    expect(deployment).toMatchObject({ phase: 'succeeded', reason: null, revisionName: `${name}-00001` })
    await eventually(({ status, ready, replicas }) => {
      expect(status).toMatchObject({
        observedGeneration: 1,
        latestCreatedRevision: `${name}-00001`,
        latestReadyRevision: `${name}-00001`,
        traffic: [{ revision: `${name}-00001`, percent: 100, tag: null }],
      })
      expect(ready).toMatchObject({ status: 'True', reason: 'Serving' })
      expect(replicas).toMatchObject([{ state: 'ready' }])
    })
    const { revisions, events } = await read()
    const [revision] = revisions
    expect(revision?.readyAt).not.toBeNull()
    const env = keyring.openText(revision?.env ?? Buffer.alloc(0), `revision:${revision?.uid}:env`)
    expect(JSON.parse(env)).toEqual({ A: 'b' })
    expect(events.map(({ phase }) => phase)).toEqual([
      'resolving',
      'placing',
      'placing',
      'shifting',
      'succeeded',
    ])
    expect(events[2]).toMatchObject({ node: 'n1' })
  })

  test('moves the traffic, and only then retires the old replicas', async () => {
    const { uid, name } = await createService()
    await ended(await deploy(uid, 1, 'create'))
    registry.addImage({ repository: 'hello', tag: '2', layers: [Buffer.from('other')] })
    await useTemplate(uid, 2, template('2'))
    await ended(await deploy(uid, 2))
    await eventually(({ status, replicas, revisions }) => {
      expect(status?.traffic).toMatchObject([{ revision: `${name}-00002` }])
      expect(replicas.map(({ revisionUid }) => revisionUid)).toEqual([
        revisions.find(({ number }) => number === 2)?.uid,
      ])
    })
    expect(leader.acknowledged).toHaveLength(2)
    expect(leader.retiredTooEarly).toEqual([])
  })

  test('holds the old replicas until the routers have acknowledged', async () => {
    const { uid, name } = await createService()
    await ended(await deploy(uid, 1, 'create'))
    leader.acknowledge(false)
    await useTemplate(uid, 2, template('1', { concurrency: 1 }))
    const id = await deploy(uid, 2)
    await eventually(({ status, deployments }) => {
      expect(status?.traffic).toMatchObject([{ revision: `${name}-00002` }])
      expect(deployments.find((row) => row.id === id)).toMatchObject({ phase: 'shifting' })
    })
    reconciler.nudge(uid, 'swept')
    expect((await read()).replicas.map(({ state }) => state)).toEqual(['ready', 'ready'])
    leader.acknowledge(true)
    await notifyServiceChanged(database.db, uid)
    expect(await ended(id)).toMatchObject({ phase: 'succeeded' })
    await eventually(({ replicas }) => expect(replicas).toHaveLength(1))
  })

  test('of the same image and template makes no revision', async () => {
    const { uid, name } = await createService()
    await ended(await deploy(uid, 1, 'create'))
    const second = await ended(await deploy(uid, 2))
    expect(second).toMatchObject({ phase: 'succeeded', revisionName: `${name}-00001` })
    expect(second.message).toMatch(/unchanged/)
    expect((await read()).revisions).toHaveLength(1)
  })

  test('brings revisions back by the names that the user gave them', async () => {
    const { uid, name } = await createService()
    await ended(await deploy(uid, 1, 'create', 'blue'))
    await useTemplate(uid, 2, template('1', { concurrency: 1 }))
    expect(await ended(await deploy(uid, 2, 'update', 'green'))).toMatchObject({ phase: 'succeeded' })
    await useTemplate(uid, 3, template('1'))
    const again = await ended(await deploy(uid, 3, 'update', 'blue'))
    expect(again).toMatchObject({ phase: 'succeeded', revisionName: `${name}-blue` })
    await eventually(({ status, revisions }) => {
      expect(status?.traffic).toMatchObject([{ revision: `${name}-blue`, percent: 100 }])
      expect(revisions.map((revision) => revision.name).toSorted()).toEqual([`${name}-blue`, `${name}-green`])
    })
    const taken = await ended(await deploy(uid, 3, 'update', 'green'))
    expect(taken).toMatchObject({ phase: 'failed', reason: 'RevisionExists' })
  })

  test('is superseded by a newer one, whose revision alone keeps replicas', async () => {
    leader.onStart((attempt) => (attempt === 1 ? 'hang' : 'ready'))
    const { uid, name } = await createService()
    const first = await deploy(uid, 1, 'create')
    await eventually(({ replicas }) => expect(replicas).toHaveLength(1))
    await useTemplate(uid, 2, template('1', { concurrency: 1 }))
    const second = await deploy(uid, 2)
    expect(await ended(first)).toMatchObject({ phase: 'superseded', reason: 'Superseded' })
    expect(await ended(second)).toMatchObject({ phase: 'succeeded', revisionName: `${name}-00002` })
    await eventually(({ replicas, revisions }) =>
      expect(replicas.map(({ revisionUid }) => revisionUid)).toEqual([
        revisions.find(({ number }) => number === 2)?.uid,
      ]),
    )
  })

  test('that is cancelled leaves the traffic and no replicas', async () => {
    const { uid, name } = await createService()
    await ended(await deploy(uid, 1, 'create'))
    leader.onStart(() => 'hang')
    await useTemplate(uid, 2, template('1', { concurrency: 1 }))
    const id = await deploy(uid, 2)
    await eventually(({ replicas }) => expect(replicas).toHaveLength(2))
    await database.db.execute(`update deployments set cancel_requested_at = now() where id = '${id}'`)
    await notifyServiceChanged(database.db, uid)
    expect(await ended(id)).toMatchObject({ phase: 'cancelled', reason: 'Cancelled' })
    await eventually(({ replicas, status, ready }) => {
      expect(replicas).toHaveLength(1)
      expect(status?.traffic).toMatchObject([{ revision: `${name}-00001` }])
      expect(ready).toMatchObject({ status: 'True' })
      expect(ready?.message).toMatch(/was cancelled/)
    })
  })

  test('rolls back to a revision that wakes on request, without starting anything', async () => {
    const { uid, name } = await createService()
    await ended(await deploy(uid, 1, 'create'))
    await useTemplate(uid, 2, template('1', { concurrency: 1 }))
    await ended(await deploy(uid, 2))
    await eventually(({ replicas }) => expect(replicas).toHaveLength(1))
    await change(uid, `generation = 3, pinned_revision = '${name}-00001'`)
    const rollback = await ended(await deploy(uid, 3, 'rollback'))
    expect(rollback).toMatchObject({ phase: 'succeeded', revisionName: `${name}-00001` })
    await eventually(({ status, replicas }) => {
      expect(status).toMatchObject({ latestReadyRevision: `${name}-00002` })
      expect(status?.traffic).toMatchObject([{ revision: `${name}-00001`, percent: 100 }])
      expect(replicas).toHaveLength(0)
    })
  })
})

describe('a failing deployment', () => {
  test('of an image that was never pushed says how to push it', async () => {
    const { uid } = await createService({ template: template('9') })
    const deployment = await ended(await deploy(uid, 1, 'create'))
    expect(deployment).toMatchObject({ phase: 'failed', reason: 'ImageNotFound' })
    expect(deployment.message).toContain(`docker push ${registry.address}/hello:9`)
    await eventually(({ ready }) => expect(ready).toMatchObject({ status: 'False', reason: 'ImageNotFound' }))
    expect(await read()).toMatchObject({ revisions: [], replicas: [] })
  })

  test('asks a registry that stumbles again', async () => {
    registry.intercept(/^HEAD/, (_request, response) => void response.writeHead(500).end())
    const { uid } = await createService()
    const id = await deploy(uid, 1, 'create')
    expect(await ended(id)).toMatchObject({ phase: 'succeeded' })
    const { events } = await read()
    expect(events.map(({ message }) => message).join('\n')).toMatch(
      /RegistryUnreachable[^]*resolving .* attempt 2/,
    )
  })

  test('is not held up by a registry that hangs: a cancellation ends it, and the next one goes its way', async () => {
    let givenUp = false
    registry.intercept(/^HEAD/, (_request, response) => {
      response.once('close', () => (givenUp = true))
    })
    const { uid } = await createService()
    const id = await deploy(uid, 1, 'create')
    await eventually(({ deployments }) => expect(deployments).toMatchObject([{ phase: 'resolving' }]))
    await database.db.execute(`update deployments set cancel_requested_at = now() where id = '${id}'`)
    await notifyServiceChanged(database.db, uid)
    expect(await ended(id)).toMatchObject({ phase: 'cancelled' })
    expect(givenUp).toBe(false)
    await useTemplate(uid, 2, template('1'))
    expect(await ended(await deploy(uid, 2))).toMatchObject({ phase: 'succeeded' })
  })

  test('of another architecture ends at once', async () => {
    registry.addImage({ repository: 'hello', tag: 'arm', architecture: 'arm64' })
    const { uid } = await createService({ template: template('arm') })
    const deployment = await ended(await deploy(uid, 1, 'create'))
    expect(deployment).toMatchObject({ phase: 'failed', reason: 'ArchitectureMismatch' })
    expect(deployment.message).toContain('arm64')
  })

  test('that crashes three times in a row ends early, and the old revision serves on', async () => {
    const { uid, name } = await createService()
    await ended(await deploy(uid, 1, 'create'))
    leader.onStart(() => ({ reason: 'AppCrashed', message: 'exit code 1: no such table' }))
    await useTemplate(uid, 2, template('1', { concurrency: 1 }))
    const deployment = await ended(await deploy(uid, 2))
    expect(deployment).toMatchObject({ phase: 'failed', reason: 'AppCrashed' })
    await eventually(({ status, ready, replicas }) => {
      expect(status?.traffic).toMatchObject([{ revision: `${name}-00001` }])
      expect(ready).toMatchObject({ status: 'True', reason: 'Serving' })
      expect(ready?.message).toContain('no such table')
      expect(replicas.filter(({ state }) => state === 'failed')).toHaveLength(3)
      expect(replicas.filter(({ state }) => state === 'ready')).toHaveLength(1)
    })
  })

  test('that no node can take says so with counts, and goes on when one can', async () => {
    const { uid } = await createService({ template: template('1', { nodeSelector: { disk: 'ssd' } }) })
    const id = await deploy(uid, 1, 'create')
    await eventually(({ ready, events }) => {
      expect(ready).toMatchObject({ status: 'False', reason: 'Unplaceable' })
      expect(ready?.message).toContain('1 node: lacks label disk=ssd')
      expect(events.map(({ message }) => message).join()).toContain('1 node: lacks label disk=ssd')
    })
    await insertNode(database.db, { name: 'n2', labels: { disk: 'ssd' } })
    expect(await ended(id)).toMatchObject({ phase: 'succeeded', reason: null })
  })
})

describe('a deletion', () => {
  test('leaves no row', async () => {
    const { uid } = await createService()
    await ended(await deploy(uid, 1, 'create'))
    await change(uid, 'deleted_at = now()')
    await eventually((state) =>
      expect(state).toMatchObject({ services: [], deployments: [], revisions: [], replicas: [] }),
    )
    await eventually(({ leases }) => expect(leases.map(({ name }) => name)).toEqual(['leader']))
  })

  test('in the middle of a deployment ends that first', async () => {
    leader.onStart(() => 'hang')
    const { uid } = await createService()
    await deploy(uid, 1, 'create')
    await eventually(({ replicas }) => expect(replicas).toHaveLength(1))
    await change(uid, 'deleted_at = now()')
    await eventually((state) => expect(state).toMatchObject({ services: [], replicas: [] }))
  })
})

describe('what was forgotten', () => {
  test('is picked up at the start', async () => {
    await reconciler.close()
    const { uid } = await createService()
    const id = await deploy(uid, 1, 'create')
    reconciler = start()
    expect(await ended(id)).toMatchObject({ phase: 'succeeded' })
  })

  test('is found by the sweep', async () => {
    await reconciler.close()
    const { uid } = await createService()
    const found = new Set<string>()
    const sweep = startSweep({
      db: database.db,
      reconcile: (service) => void found.add(service),
      log,
      intervalMs: 20,
    })
    await vi.waitFor(() => expect([...found]).toEqual([uid]), { timeout: 20_000 })
    await sweep.close()
  })

  test('rests after a pass that failed: the sweep does not wake it, a change does', async () => {
    const failures: string[] = []
    await reconciler.close()
    reconciler = start(pino({ level: 'error' }, { write: (line) => void failures.push(line) }))
    const service = await createService({ env: Buffer.from('sealed by somebody else') })
    await deploy(service.uid, 1)
    // After the second failure it rests for two seconds.
    await vi.waitFor(() => expect(failures).toHaveLength(2), patient)
    reconciler.nudge(service.uid, 'swept')
    await delay(200)
    expect(failures).toHaveLength(2)
    reconciler.nudge(service.uid, 'updated')
    await vi.waitFor(() => expect(failures).toHaveLength(3), patient)
  })

  test('is not lost when a pass is cut off by another worker', async () => {
    const second = start()
    const services = await Promise.all([createService(), createService(), createService()])
    const ids = await Promise.all(services.map(({ uid }) => deploy(uid, 1, 'create')))
    for (const id of ids) expect(await ended(id)).toMatchObject({ phase: 'succeeded' })
    await eventually(({ replicas, revisions }) => {
      expect(replicas).toHaveLength(3)
      expect(revisions).toHaveLength(3)
    })
    await second.close()
  })
})

describe('a rollout in steps', () => {
  type Rollout = (typeof schema.services.$inferInsert)['rollout']

  /** Revision 1 serves; deployment 2 brings another one. */
  async function rollOut(rollout: Rollout) {
    const { uid, name } = await createService({ rollout })
    const first = await deploy(uid, 1, 'create')
    if (rollout.strategy === 'manual') await say(uid, first, 'promote_from = 0')
    await ended(first)
    await useTemplate(uid, 2, template('1', { concurrency: 2 }))
    return { uid, name, deployment: await deploy(uid, 2) }
  }

  /** What the API does when somebody says something to a deployment, as soon as its traffic moves. */
  async function say(service: ServiceUid, id: DeploymentId, wish: string): Promise<void> {
    await eventually(({ deployments }) =>
      expect(deployments.find((row) => row.id === id)).toMatchObject({ phase: 'shifting' }),
    )
    await database.db.execute(`update deployments set ${wish} where id = '${id}'`)
    await notifyServiceChanged(database.db, service)
  }

  const shares = ({ status }: Awaited<ReturnType<typeof read>>) =>
    (status?.traffic ?? []).map(({ revision, percent }) => `${revision.slice(-1)}: ${percent}`)

  test('goes on from the step it was at with another worker, each step acknowledged', async () => {
    const rollout: Rollout = { strategy: 'gradual', steps: [20, 60], intervalSeconds: 1 }
    const { name, deployment } = await rollOut(rollout)
    await eventually((state) => expect(shares(state)).toEqual(['1: 80', '2: 20']))
    const acknowledgedAt = await eventually(({ deployments }) => {
      const { rollout: progress } = deployments.find(({ id }) => id === deployment) ?? {}
      expect(progress).toMatchObject({ percent: 20, acknowledgedAt: expect.any(String) })
      return Date.parse(progress?.acknowledgedAt ?? '')
    })
    await reconciler.close()
    reconciler = start()
    expect(await ended(deployment)).toMatchObject({ phase: 'succeeded', rollout: { percent: 100 } })
    const { events, status } = await read()
    expect(status?.latestReadyRevision).toBe(`${name}-00002`)
    const steps = events.filter(
      ({ deploymentId, phase }) => deploymentId === deployment && phase === 'shifting',
    )
    expect(steps.map(({ message }) => message)).toEqual([
      `routing 20 % to ${name}-00002, 1 replica ready`,
      `every router sends 20 % to ${name}-00002`,
      `routing 60 % to ${name}-00002, 1 replica ready`,
      `every router sends 60 % to ${name}-00002`,
      `routing ${name}-00002, 1 replica ready`,
    ])
    expect((steps[2]?.at.getTime() ?? 0) - acknowledgedAt).toBeGreaterThanOrEqual(1000)
    expect(leader.retiredTooEarly).toEqual([])
  })

  test('by hand waits with no traffic until it is promoted', async () => {
    const { uid, name, deployment } = await rollOut({ strategy: 'manual' })
    await eventually(({ deployments, ready }) => {
      expect(deployments.find(({ id }) => id === deployment)?.rollout).toMatchObject({ percent: 0 })
      expect(ready?.message).toContain(`${name}-00002 gets no traffic until it is promoted`)
    })
    expect(shares(await read())).toEqual(['1: 100'])
    await say(uid, deployment, 'promote_to = 30')
    await eventually((state) => expect(shares(state)).toEqual(['1: 70', '2: 30']))
    await say(uid, deployment, 'promote_from = 30')
    expect(await ended(deployment)).toMatchObject({ phase: 'succeeded' })
    expect(shares(await read())).toEqual(['2: 100'])
  })

  test('is aborted back to what served before, and its replicas retire', async () => {
    const { uid, name, deployment } = await rollOut({ strategy: 'gradual', steps: [20] })
    await eventually((state) => expect(shares(state)).toEqual(['1: 80', '2: 20']))
    await say(uid, deployment, 'abort_requested_at = now()')
    expect(await ended(deployment)).toMatchObject({ phase: 'cancelled', reason: 'RolloutAborted' })
    await eventually((state) => {
      expect(shares(state)).toEqual(['1: 100'])
      expect(state.status?.latestReadyRevision).toBe(`${name}-00001`)
      expect(state.replicas).toHaveLength(1)
    })
    expect(leader.retiredTooEarly).toEqual([])
  })

  /** What the leader writes when the app of the new revision has ended three times. */
  async function crash(service: ServiceUid): Promise<void> {
    await database.db.execute(
      `update replicas set state = 'starting', reason = 'AppCrashed', message = 'exit 3',
         ends = jsonb_build_array(now(), now(), now())
       where revision_uid = (select uid from revisions where number = 2)`,
    )
    await notifyServiceChanged(database.db, service)
  }

  test('fails when its revision crashes, and its traffic is back', async () => {
    const { uid, name, deployment } = await rollOut({ strategy: 'gradual', steps: [20] })
    await eventually((state) => expect(shares(state)).toEqual(['1: 80', '2: 20']))
    await crash(uid)
    const { message, ...end } = await ended(deployment)
    expect(end).toMatchObject({ phase: 'failed', reason: 'CrashLoop', rolledBack: null })
    expect(message).toContain(`${name}-00002 ended three times within 60 s, last on n1: exit 3`)
    await eventually((state) => expect(shares(state)).toEqual(['1: 100']))
    expect((await read()).events.at(-1)).toMatchObject({ phase: 'failed', node: 'n1' })
  })

  test('that has succeeded is rolled back when its revision crashes right after, once', async () => {
    const { uid, name, deployment } = await rollOut({ strategy: 'immediate' })
    await ended(deployment)
    await eventually(({ replicas }) => expect(replicas).toHaveLength(1))
    await crash(uid)
    await eventually((state) => {
      expect(shares(state)).toEqual(['1: 100'])
      expect(state.status?.latestReadyRevision).toBe(`${name}-00001`)
      expect(state.ready?.message).toContain(`${name}-00002 was rolled back by itself (CrashLoop)`)
      expect(state.replicas).toEqual([])
    })
    const { deployments, events } = await read()
    expect(deployments.find(({ id }) => id === deployment)).toMatchObject({
      phase: 'succeeded',
      rolledBack: { reason: 'CrashLoop', at: expect.stringMatching(/^20.*Z$/) },
    })
    const told = events.filter(({ message }) => message.startsWith('CrashLoop: '))
    expect(told).toMatchObject([{ deploymentId: deployment, node: 'n1' }])
  })

  test('gives its traffic back before a newer deployment begins', async () => {
    const { uid, deployment } = await rollOut({ strategy: 'gradual', steps: [20], intervalSeconds: 1 })
    await eventually((state) => expect(shares(state)).toEqual(['1: 80', '2: 20']))
    await useTemplate(uid, 3, template('1', { concurrency: 3 }))
    const newer = await deploy(uid, 3)
    expect(await ended(deployment)).toMatchObject({ phase: 'superseded' })
    expect(await ended(newer)).toMatchObject({ phase: 'succeeded', rollout: { percent: 100 } })
    const before = (await read()).events.find(
      ({ deploymentId, message }) => deploymentId === newer && message.startsWith('routing 20 %'),
    )
    expect(before).toBeDefined()
    expect(shares(await read())).toEqual(['3: 100'])
  })
})
