import type { NodeUid } from '@berth/contracts'
import type { NodeImageUse } from '@berth/db'
import { connectEngine, localImageName, type ContainerRuntime } from '@berth/engine'
import { heldFence, startFakeEngine, type FakeEngine } from '@berth/engine/testing'
import { pino } from 'pino'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { measureDisk } from '../replicas/index.ts'
import { createNodeDisks, type NodeDisks } from './node-disks.ts'
import { createNodeLanes, type NodeLanes } from './node-lanes.ts'
import { aNode } from './testing/picture.ts'

const log = pino({ level: 'silent' })
const gibibyte = 1024 ** 3
const sandboxImage = 'berth-sandbox:test'

let engines: Map<NodeUid, { engine: FakeEngine; runtime: ContainerRuntime }>
let lanes: NodeLanes
let clock: number
let use: NodeImageUse[]
let forgotten: string[]
let disks: NodeDisks
beforeEach(async () => {
  engines = new Map()
  lanes = createNodeLanes('disk', log)
  clock = 0
  use = []
  forgotten = []
  await addNode('n1')
  disks = createNodeDisks({
    nodes: () => [...engines.keys()].map((uid) => aNode({ uid, name: uid })),
    runtimeOf: ({ uid }) => engines.get(uid)?.runtime,
    measure: ({ uid }) =>
      measureDisk(
        { runtime: runtimeOf(uid), sandboxImage, address: '127.0.0.1' },
        { installation: 'test', fence: heldFence },
      ),
    onMeasured() {},
    imageUse: async () => use,
    forget: async (_node, digests) => void forgotten.push(...digests),
    lanes,
    fence: heldFence,
    log,
    now: () => clock,
  })
})
afterEach(async () => {
  for (const { engine, runtime } of engines.values()) {
    engine.release()
    runtime.close()
    await engine.stop()
  }
})

async function addNode(name: string): Promise<FakeEngine> {
  const engine = await startFakeEngine({ name })
  engine.addImage(sandboxImage)
  engines.set(name as NodeUid, { engine, runtime: connectEngine(engine.endpoint) })
  return engine
}

function engineOf(name = 'n1'): FakeEngine {
  const found = engines.get(name as NodeUid)
  if (found === undefined) throw new Error(`there is no node ${name}`)
  return found.engine
}

function runtimeOf(uid: NodeUid): ContainerRuntime {
  const found = engines.get(uid)
  if (found === undefined) throw new Error(`there is no node ${uid}`)
  return found.runtime
}

/** What there is on n1 beside the sandbox's image, by the repository. */
const imagesThere = () =>
  [...engineOf().state.images.values()]
    .flatMap(({ references }) => [...references])
    .flatMap((name) => /\/(\w+)[@:]/.exec(name)?.[1] ?? [])

/** An image of 3 GiB on n1, of which the database says `about`. */
function bring(repository: string, about: Partial<NodeImageUse> | null = {}): void {
  const digest = `sha256:${Buffer.from(repository).toString('hex').padEnd(64, '0')}`
  const { id } = engineOf().addImage(localImageName(repository, digest), { sizeBytes: 3 * gibibyte })
  engineOf().addImage(`registry.test/${repository}@${digest}`, { id })
  if (about !== null) use.push({ digest, unusedMs: 3_600_000, retained: false, inUse: false, ...about })
}

async function look(): Promise<void> {
  clock += 60_000
  disks.tick()
  await lanes.idle()
}

const percentUsed = (percent: number) => {
  engineOf().state.disk.freeBytes = (100 - percent) * gibibyte
}

describe('the disk of a node', () => {
  test('is measured once a minute, where no sandbox runs in one that goes again', async () => {
    await look()
    expect(disks.measured()).toEqual([
      { node: 'n1', disk: { totalBytes: 100 * gibibyte, freeBytes: 60 * gibibyte } },
    ])
    expect(engineOf().containers()).toEqual([])
    const calls = engineOf().calls.length
    clock += 59_000
    disks.tick()
    await lanes.idle()
    expect(engineOf().calls).toHaveLength(calls)
  })

  test('is measured beside an engine that hangs', async () => {
    engineOf().hang('GET /containers/json')
    await addNode('n2')
    clock += 60_000
    disks.tick()
    await expect.poll(() => disks.measured().map(({ node }) => node)).toEqual(['n2'])
  })

  test('that cannot be measured keeps what was measured last', async () => {
    await look()
    engineOf().fail('POST /containers/*/exec', { status: 500, message: 'no space left on device' })
    await look()
    expect(disks.measured()).toHaveLength(1)
    expect(engineOf().containers()).toEqual([])
  })
})

describe('image collection', () => {
  test('leaves everything while less than 85 %% is used', async () => {
    percentUsed(84)
    bring('old')
    await look()
    expect(imagesThere()).toEqual(['old', 'old'])
  })

  test('removes the least recently used until 80 %% is used', async () => {
    percentUsed(87)
    bring('young', { unusedMs: 700_000 })
    bring('oldest', { unusedMs: 9_000_000 })
    bring('old', { unusedMs: 8_000_000 })
    bring('middle', { unusedMs: 800_000 })
    await look()
    // Three of 3 GiB: 84, 81, 78 % used.
    expect(imagesThere()).toEqual(['young', 'young'])
    expect(forgotten).toHaveLength(3)
    expect(disks.measured()).toMatchObject([{ disk: { freeBytes: 22 * gibibyte } }])
  })

  test('never takes what is in use, was just brought, or is not its own', async () => {
    percentUsed(95)
    bring('used', { inUse: true })
    bring('fresh', { unusedMs: 1_000 })
    bring('stranger', null)
    bring('shared')
    const shared = engineOf().state.findImage(
      localImageName('shared', `sha256:${Buffer.from('shared').toString('hex').padEnd(64, '0')}`),
    )
    shared.references.add('somebody/tool:1')
    bring('nobody')
    await look()
    expect(new Set(imagesThere())).toEqual(new Set(['used', 'fresh', 'stranger', 'shared', 'tool']))
  })

  test('leaves an image that a container uses, and goes on with the next', async () => {
    percentUsed(90)
    bring('held', { unusedMs: 9_000_000 })
    bring('nobody')
    engineOf().fail('DELETE /images/registry.test/held@*', { status: 409, message: 'conflict: in use' })
    await look()
    expect(imagesThere()).toEqual(['held', 'held'])
  })
})
