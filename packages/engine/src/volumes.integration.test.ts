import { afterEach, beforeEach, expect, test } from 'vitest'
import { connectEngine } from './connect-engine.ts'
import type { AppSpec, ContainerRuntime } from './container-runtime.ts'
import { isEngineError, NameConflictError } from './engine-error.ts'
import { type FakeEngine, heldFence, lostFence, startFakeEngine } from './testing/index.ts'

let engine: FakeEngine
let runtime: ContainerRuntime
beforeEach(async () => {
  engine = await startFakeEngine()
  engine.addImage('hello')
  runtime = connectEngine(engine.endpoint)
})
afterEach(async () => {
  runtime.close()
  await engine.stop()
})

const labels = { 'berth.installation': 'test', 'berth.role': 'volume' }
const volume = { name: 'berth-test-vol-1', labels }

function app(change: Partial<AppSpec> = {}): AppSpec {
  return {
    name: 'berth-test-rep-1-app',
    sandboxId: 'f00',
    image: 'hello',
    command: [],
    args: [],
    env: {},
    memoryBytes: 64 * 1024 ** 2,
    cpuMillis: 1000,
    volumes: [{ name: volume.name, mountPath: '/data' }],
    labels,
    ...change,
  }
}

test('a volume is made once, and is there until it is removed', async () => {
  expect(await runtime.volumeExists(volume.name)).toBe(false)
  await runtime.ensureVolume(volume, heldFence)
  await runtime.ensureVolume(volume, heldFence)
  expect(await runtime.volumeExists(volume.name)).toBe(true)
  expect(engine.state.volumes.get(volume.name)).toEqual(labels)
  await runtime.removeVolume(volume.name, heldFence)
  await runtime.removeVolume(volume.name, heldFence)
  expect(await runtime.volumeExists(volume.name)).toBe(false)
})

test('nothing is made or removed without the lease', async () => {
  await expect(runtime.ensureVolume(volume, lostFence)).rejects.toThrow('lease')
  await runtime.ensureVolume(volume, heldFence)
  await expect(runtime.removeVolume(volume.name, lostFence)).rejects.toThrow('lease')
  await expect(runtime.openVolume(volume, 'hello', lostFence)).rejects.toThrow('lease')
  expect(await runtime.volumeExists(volume.name)).toBe(true)
})

test('one that another installation has is never taken', async () => {
  engine.state.volumes.set(volume.name, { 'berth.installation': 'other' })
  const failure: unknown = await runtime.ensureVolume(volume, heldFence).catch((error: unknown) => error)
  expect(failure).toBeInstanceOf(NameConflictError)
})

test('an app mounts it by its name, and is not adopted without it', async () => {
  const id = await runtime.createApp(app(), heldFence)
  const mounts = [{ Type: 'volume', Source: volume.name, Target: '/data' }]
  expect(engine.containers()[0]?.body.HostConfig.Mounts).toEqual(mounts)
  expect(await runtime.createApp(app(), heldFence)).toBe(id)
  const elsewhere = app({ volumes: [{ name: volume.name, mountPath: '/other' }] })
  for (const other of [elsewhere, app({ volumes: [] })]) {
    const failure: unknown = await runtime.createApp(other, heldFence).catch((error: unknown) => error)
    expect((failure as NameConflictError).differences).toEqual(['volumes'])
  }
})

test('its users are known, and it stays as long as there is one', async () => {
  const id = await runtime.createApp(app(), heldFence)
  await runtime.createApp(
    app({ name: 'other', volumes: [{ name: 'another', mountPath: '/data' }] }),
    heldFence,
  )
  expect(await runtime.volumeUsers(volume.name)).toMatchObject([{ id, state: 'created' }])
  const failure: unknown = await runtime.removeVolume(volume.name, heldFence).catch((error: unknown) => error)
  expect(isEngineError(failure, 'Conflict')).toBe(true)
  await runtime.remove(id, heldFence)
  await runtime.removeVolume(volume.name, heldFence)
})

test('a removal whose answer is lost is looked at', async () => {
  await runtime.ensureVolume(volume, heldFence)
  engine.cut(`DELETE /volumes/${volume.name}`, { times: 1 })
  await runtime.removeVolume(volume.name, heldFence)
  expect(await runtime.volumeExists(volume.name)).toBe(false)
})

test('it is opened through a container that is never started and always removed', async () => {
  await runtime.ensureVolume(volume, heldFence)
  await runtime.openVolume(volume, 'hello', heldFence)
  engine.fail('PUT /containers/*/archive', { status: 500, message: 'no', times: 1 })
  await expect(runtime.openVolume(volume, 'hello', heldFence)).rejects.toThrow('no')
  expect(engine.containers()).toEqual([])
  expect(engine.calls.filter((call) => call.endsWith('/archive'))).toHaveLength(2)
  expect(engine.calls.some((call) => call.endsWith('/start'))).toBe(false)
})
