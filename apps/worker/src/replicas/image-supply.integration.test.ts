import type { NodeUid } from '@berth/contracts'
import {
  connectEngine,
  isEngineError,
  localImageName,
  type ContainerRuntime,
  type RegistryAccess,
} from '@berth/engine'
import { heldFence, startFakeEngine, type FakeEngine } from '@berth/engine/testing'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createImageSupply } from './image-supply.ts'
import type { ReplicaHost } from './replica-deps.ts'
import { startSmallRegistry, type SmallRegistry } from './testing/small-registry.ts'

const unreachable = {
  status: 500,
  message: 'Get "http://registry/v2/": dial tcp: connect: connection refused',
}

let registry: SmallRegistry
let engine: FakeEngine
let neighbour: FakeEngine
let runtimes: ContainerRuntime[]
let host: ReplicaHost
beforeEach(async () => {
  registry = await startSmallRegistry()
  ;[engine, neighbour] = [await startFakeEngine(), await startFakeEngine()]
  runtimes = [connectEngine(engine.endpoint), connectEngine(neighbour.endpoint)]
  host = {
    uid: 'nod-1' as NodeUid,
    name: 'n1',
    runtime: connectEngine(engine.endpoint),
    architecture: 'amd64',
    honestPorts: true,
    cpuMillis: 2000,
    sandboxImage: '',
    restoreSandboxImage: async () => {},
  }
})
afterEach(async () => {
  for (const runtime of [...runtimes, host.runtime]) runtime.close()
  await Promise.all([engine.stop(), neighbour.stop(), registry.stop()])
})

function supply(change: Partial<RegistryAccess> = {}) {
  const access: RegistryAccess = {
    platformRegistry: registry.address,
    allowedHosts: [],
    credentials: () => undefined,
    resolve: () => Promise.reject(new Error('no such host')),
    ...change,
  }
  return createImageSupply({ accessOf: () => access, otherRuntimes: () => runtimes.slice(1) })
}

const image = () => ({
  projectUid: 'prj-1',
  imageRepository: `${registry.address}/acme/app`,
  imageDigest: registry.digest,
})
const localName = () => localImageName('acme/app', registry.digest)

test('a node that cannot reach the registry is fed by the worker', async () => {
  engine.fail('POST /images/create', unreachable)
  const told: string[] = []
  const id = await supply().ensure(host, image(), (message) => told.push(message), heldFence)
  expect((await host.runtime.inspectImage(localName()))?.id).toBe(id)
  expect(told.at(-1)).toContain('cannot reach the registry')
})

test('a node for which the registry on loopback is another one is fed too', async () => {
  engine.fail('POST /images/create', { status: 404, message: 'manifest unknown' })
  expect(await supply().ensure(host, image(), () => {}, heldFence)).toMatch(/^sha256:/)
})

test('an image that nobody has is missing, whoever asks', async () => {
  const missing = { ...image(), imageDigest: `sha256:${'0'.repeat(64)}` }
  await expect(supply().ensure(host, missing, () => {}, heldFence)).rejects.toMatchObject({
    code: 'ImageNotFound',
  })
})

/** What the fake engine saves is empty: the real one keeps image and name. */
function namingWhatIsLoaded(): ReplicaHost {
  const { runtime } = host
  return {
    ...host,
    runtime: {
      ...runtime,
      async loadImage(tar, fence, signal) {
        await runtime.loadImage(tar, fence, signal).catch((error: unknown) => {
          if (isEngineError(error, 'RegistryUnreachable')) throw error
        })
        engine.addImage(localName())
        return [localName()]
      },
    },
  }
}

test('with the registry away, a node that has the image gives it to the one that needs it', async () => {
  engine.fail('POST /images/create', unreachable)
  neighbour.addImage(localName())
  const wanted = image()
  await registry.stop()
  const id = await supply().ensure(namingWhatIsLoaded(), wanted, () => {}, heldFence)
  expect(id).toBe((await host.runtime.inspectImage(localName()))?.id)
  expect(neighbour.calls).toContain(`GET /images/${localName()}/get`)
})

test.each(['GET /images/*/json', 'GET /images/*/get'])(
  'a neighbour that fails at "%s" does not keep the image from coming from the next one',
  async (route) => {
    const broken = await startFakeEngine()
    broken.addImage(localName())
    broken.fail(route.replace('*', localName()), { status: 500, message: 'broken' })
    runtimes.splice(1, 0, connectEngine(broken.endpoint))
    neighbour.addImage(localName())
    engine.fail('POST /images/create', unreachable)
    const wanted = image()
    await registry.stop()
    try {
      const id = await supply().ensure(namingWhatIsLoaded(), wanted, () => {}, heldFence)
      expect(id).toBe((await host.runtime.inspectImage(localName()))?.id)
      expect(broken.calls.some((call) => call.startsWith('GET /images/'))).toBe(true)
    } finally {
      await broken.stop()
    }
  },
)

test('with nobody who has it, the failure is that of the node', async () => {
  engine.fail('POST /images/create', unreachable)
  const wanted = image()
  await registry.stop()
  await expect(supply().ensure(host, wanted, () => {}, heldFence)).rejects.toMatchObject({
    code: 'RegistryUnreachable',
  })
})

test('what was fetched once is there the next time', async () => {
  engine.fail('POST /images/create', unreachable)
  const images = supply()
  const first = await images.ensure(host, image(), () => {}, heldFence)
  const told: string[] = []
  const second = await images.ensure(host, image(), (message) => told.push(message), heldFence)
  expect([second, told]).toEqual([first, []])
  expect(engine.calls.filter((call) => call === 'POST /images/load')).toHaveLength(1)
})

test('a failure is not remembered', async () => {
  engine.fail('POST /images/create', unreachable)
  const images = supply()
  const later = { ...image(), imageRepository: 'registry.test/acme/app' }
  const first = images.ensure(host, later, () => {}, heldFence)
  await expect(first).rejects.toMatchObject({ code: 'RegistryUnreachable' })
  engine.release()
  engine.addRemoteImage(`registry.test/acme/app@${registry.digest}`)
  expect(await images.ensure(host, later, () => {}, heldFence)).toMatch(/^sha256:/)
})
