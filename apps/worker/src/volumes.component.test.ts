import { newId, type VolumeUid } from '@berth/contracts'
import { desired, readServiceVolumes, schema } from '@berth/db'
import { buildTemplate, insertRevision } from '@berth/db/testing'
import type { FakeEngine } from '@berth/engine/testing'
import { afterEach, beforeEach, describe, expect, inject, test, vi } from 'vitest'
import { volumeName } from './replicas/index.ts'
import { appsOn, patient, startWorkerBench, type WorkerBench } from './testing/worker-bench.ts'

let bench: WorkerBench
let engine: FakeEngine
let node: string

beforeEach(async () => {
  bench = await startWorkerBench({ postgresUrl: inject('postgresUrl'), redisUrl: inject('redisUrl') })
  engine = await bench.startEngine()
  node = (await bench.insertNode('n1', engine)).uid
})
afterEach(() => bench.stop())

const [plain] = buildTemplate().containers
const mounting = buildTemplate({
  containers: plain ? [{ ...plain, volumes: [{ name: 'data', mountPath: '/data' }] }] : [],
})

/** A service that always has its one replica, and that mounts the volume "data". */
async function serviceWithVolume() {
  const made = await bench.coldService({ minScale: 1, maxScale: 1, template: mounting })
  const [{ projectUid } = { projectUid: '' }] = await bench.database.db.select().from(schema.services)
  await bench.database.db.transaction((tx) =>
    desired.claimVolumes(tx, { projectUid, serviceUid: made.service }, ['data']),
  )
  return { ...made, projectUid }
}

async function dataVolume() {
  const [volume] = await readServiceVolumes(bench.database.db)
  return { ...volume, name: volumeName(bench.installation, volume?.uid ?? '') }
}

const running = () => appsOn(engine).filter(({ status }) => status === 'running')

describe('a volume', () => {
  test('is made for the first replica, open to every user, and belongs to its node from then on', async () => {
    const { revision } = await serviceWithVolume()
    await bench.startWorker()
    await vi.waitFor(() => expect(bench.served(revision)).toHaveLength(1), patient)
    const volume = await dataVolume()
    expect(volume).toMatchObject({ nodeUid: node, made: true })
    expect([...engine.state.volumes.keys()]).toEqual([volume.name])
    expect(running()[0]?.body.HostConfig.Mounts).toEqual([
      { Type: 'volume', Source: volume.name, Target: '/data' },
    ])
    const opened = engine.calls.filter((call) => call.startsWith('PUT ') && call.endsWith('/archive'))
    expect(opened).toHaveLength(1)
  })

  test('goes from the old app to the new one, which starts when the old one has ended', async () => {
    const { service, projectUid, revision } = await serviceWithVolume()
    await bench.startWorker()
    await vi.waitFor(() => expect(bench.served(revision)).toHaveLength(1), patient)
    const [old] = running()
    const next = await insertRevision(bench.database.db, { serviceUid: service, number: 2 })
    let most = 0
    const sampling = setInterval(() => (most = Math.max(most, running().length)), 1)
    await bench.database.db.update(schema.services).set({ generation: 2 })
    await bench.database.db.insert(schema.deployments).values({
      id: newId('DeploymentId'),
      projectUid,
      serviceUid: service,
      serviceName: next.name.replace(/-\d+$/, ''),
      generation: 2,
      trigger: 'update',
      createdBy: 'test',
      revisionUid: next.uid,
      revisionName: next.name,
      phase: 'placing',
    })
    await vi.waitFor(() => {
      expect(running().map(({ body }) => body.Labels['berth.revision'])).toEqual([next.name])
    }, patient)
    clearInterval(sampling)
    expect(most).toBe(1)
    expect(engine.calls.some((call) => call.endsWith(`${old?.id}/stop`))).toBe(true)
    // Nobody made the one that was there anew, or opened it again.
    expect(engine.calls.filter((call) => call === 'POST /volumes/create')).toHaveLength(1)
  })

  test('is not mounted where the image has a symbolic link', async () => {
    engine.state.links.set('/data', '/etc')
    const { revision } = await serviceWithVolume()
    await bench.startWorker()
    await vi.waitFor(async () => {
      const [row] = await bench.database.db.select().from(schema.replicas)
      expect(row).toMatchObject({
        state: 'failed',
        reason: 'StartFailed',
        message: expect.stringContaining(
          'the volume "data" cannot be mounted at /data: /data is a symbolic link to /etc in the image',
        ),
      })
    }, patient)
    expect(bench.served(revision)).toEqual([])
    expect(running()).toEqual([])
  })

  test('that has vanished from its node is told, and no app starts on an empty one', async () => {
    const { revision } = await serviceWithVolume()
    await bench.database.db.update(schema.volumes).set({ nodeUid: node, madeAt: new Date() })
    await bench.startWorker()
    await vi.waitFor(async () => {
      const { rows } = await bench.database.db.execute('select conditions from service_status')
      expect(rows).toMatchObject([
        {
          conditions: [
            {
              status: 'False',
              reason: 'VolumeLost',
              message: expect.stringContaining('the volume "data" is not on the node "n1" any more'),
            },
          ],
        },
      ])
    }, patient)
    expect(bench.served(revision)).toEqual([])
    expect(engine.state.volumes.size).toBe(0)
    expect(running()).toEqual([])
  })

  test('on a node that hangs holds up no other node', async () => {
    const other = await bench.startEngine()
    const { uid: elsewhere } = await bench.insertNode('n2', other, 'down', '127.0.0.2')
    await bench.coldService()
    const [{ projectUid } = { projectUid: '' }] = await bench.database.db.select().from(schema.services)
    const deleted = (name: string, nodeUid: string) =>
      bench.database.db
        .insert(schema.volumes)
        .values({ uid: newId('VolumeUid'), projectUid, name, nodeUid, deletedAt: new Date() })
    engine.hang('DELETE /volumes/*')
    await bench.startWorker()
    await deleted('stuck', node)
    await vi.waitFor(
      () => expect(engine.calls.some((call) => call.startsWith('DELETE /volumes/'))).toBe(true),
      patient,
    )
    await deleted('free', elsewhere)
    await vi.waitFor(
      async () => {
        const rows = await bench.database.db.select({ name: schema.volumes.name }).from(schema.volumes)
        expect(rows).toEqual([{ name: 'stuck' }])
      },
      { ...patient, timeout: 15_000 },
    )
    engine.release()
  })

  test('that was deleted is removed from its node with its data, then forgotten', async () => {
    await serviceWithVolume()
    const { uid, name } = await dataVolume()
    engine.state.volumes.set(name, {})
    await bench.database.db
      .update(schema.volumes)
      .set({ nodeUid: node, deletedAt: new Date(), serviceUid: null })
    engine.fail(`DELETE /volumes/${name}`, { status: 500, message: 'busy', times: 1 })
    await bench.startWorker()
    await vi.waitFor(async () => {
      const rows = await bench.database.db.select({ uid: schema.volumes.uid }).from(schema.volumes)
      expect(rows.map((row) => row.uid as VolumeUid)).not.toContain(uid)
    }, patient)
    expect(engine.state.volumes.size).toBe(0)
  })
})
