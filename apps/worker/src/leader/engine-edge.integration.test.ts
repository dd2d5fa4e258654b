import { mkdtemp, rm } from 'node:fs/promises'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { ReplicaId } from '@berth/contracts'
import { berthLabels, connectEngine, ensureSandboxImage, type ContainerRuntime } from '@berth/engine'
import { heldFence, startFakeEngine, type FakeEngine } from '@berth/engine/testing'
import { pino } from 'pino'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { openControlServer } from './control-server.ts'
import { createDepartingNodes, type DepartingNodesOptions } from './departing-nodes.ts'
import { collectGarbage, minGarbageAgeMs } from './garbage.ts'
import { createNodeLanes } from './node-lanes.ts'
import { NodeRefusedError, registerNode } from './node-registration.ts'
import { aNode } from './testing/picture.ts'

const log = pino({ level: 'silent' })
const busybox = Buffer.from('not really busybox')
const installation = 'edge'

let engine: FakeEngine
let runtime: ContainerRuntime
let folder: string
const closers: (() => Promise<void>)[] = []

beforeEach(async () => {
  engine = await startFakeEngine()
  runtime = connectEngine(engine.endpoint)
  folder = await mkdtemp(join(tmpdir(), 'ctl-'))
})
afterEach(async () => {
  for (const close of closers.splice(0)) await close()
  runtime.close()
  await engine.stop()
  await rm(folder, { recursive: true, force: true })
})

async function makeSandbox(replica: string): Promise<string> {
  const image = await ensureSandboxImage(runtime, busybox, heldFence)
  const owner = { [berthLabels.installation]: installation, [berthLabels.project]: 'default' }
  const labels = {
    ...owner,
    [berthLabels.replica]: replica,
    [berthLabels.role]: 'sandbox',
  }
  const network = `net-${installation}`
  await runtime.ensureNetwork({ name: network, subnet: '198.18.9.0/26', labels: owner }, heldFence)
  const name = `berth-${installation}-${replica}-sandbox`
  const port = 20_000 + engine.containers().length
  const spec = { name, network, hostAddress: '127.0.0.1', hostPort: port, containerPort: 8080, image, labels }
  return await runtime.createSandbox(spec, heldFence)
}

describe('registering a node', () => {
  const options = {
    prepare: () => ensureSandboxImage(runtime, busybox, heldFence),
    checkHonesty: () => Promise.resolve(true),
    findTwin: () => Promise.resolve(null),
  }

  test('reads what the engine is and brings the image of the sandbox', async () => {
    const facts = await registerNode(runtime, aNode(), options)
    expect(facts).toMatchObject({ architecture: 'amd64', honestPorts: true })
    expect(facts.cpuMillis % 1000).toBe(0)
    expect(engine.calls).toContain('POST /images/load')
  })

  test('is refused for an engine that is a node already', async () => {
    const findTwin = () => Promise.resolve({ name: 'n1', sameEngine: true })
    const twice = registerNode(runtime, aNode(), { ...options, findTwin })
    await expect(twice).rejects.toThrow('the same engine is registered as node "n1"')
    await expect(twice).rejects.toBeInstanceOf(NodeRefusedError)
  })

  test('is refused on a machine that is sold already', async () => {
    const findTwin = () => Promise.resolve({ name: 'n1', sameEngine: false })
    await expect(registerNode(runtime, aNode(), { ...options, findTwin })).rejects.toThrow(
      /give both a capacity/,
    )
  })
})

describe('a round of garbage collection', () => {
  let transferring = false
  async function round(owners: string[], age: number): Promise<void> {
    const lanes = createNodeLanes('garbage', log)
    await collectGarbage({
      installation,
      nodes: () => [aNode()],
      runtimeOf: () => runtime,
      belongings: () => Promise.resolve({ owners: new Set(owners), networks: new Set() }),
      collectRows: () => Promise.resolve(),
      transferring: () => transferring,
      lanes,
      fence: heldFence,
      log,
      now: () => Date.now() + age,
    })
    await lanes.idle()
  }

  test('removes the container of a replica that nobody knows and keeps the others', async () => {
    await makeSandbox('rep-known')
    await makeSandbox('rep-gone')
    await round(['rep-known'], 2 * minGarbageAgeMs)
    const left = await runtime.list({ installation })
    expect(left.map((container) => container.labels[berthLabels.replica])).toEqual(['rep-known'])
  })

  test('goes on after a container that cannot be removed', async () => {
    const [stuck] = [await makeSandbox('rep-stuck'), await makeSandbox('rep-gone')]
    engine.fail(`DELETE /containers/${stuck}`, { status: 500, message: 'device or resource busy' })
    await round([], 2 * minGarbageAgeMs)
    const left = await runtime.list({ installation })
    expect(left.map(({ id }) => id)).toEqual([stuck])
    engine.release()
    await round([], 2 * minGarbageAgeMs)
    expect(await runtime.list({ installation })).toEqual([])
  })

  test('leaves the helpers of volumes while some are read or written, and takes what a crash has left', async () => {
    const labels = { [berthLabels.installation]: installation }
    const image = await ensureSandboxImage(runtime, busybox, heldFence)
    await runtime.ensureVolume({ name: 'v', labels }, heldFence)
    engine.fail('DELETE /containers/*', { status: 500, message: 'crashed', times: 1 })
    await runtime.openVolume({ name: 'v', labels }, image, heldFence)
    transferring = true
    await round([], 2 * minGarbageAgeMs)
    expect(await runtime.list({ installation })).toHaveLength(1)
    transferring = false
    await round([], 2 * minGarbageAgeMs)
    expect(await runtime.list({ installation })).toEqual([])
  })

  test('leaves everything that is young', async () => {
    await makeSandbox('rep-new')
    await round([], 0)
    expect(await runtime.list({ installation })).toHaveLength(1)
  })
})

describe('a node that leaves', () => {
  const uid = aNode().uid
  let forgotten: string[]
  let clock: number
  beforeEach(() => {
    forgotten = []
    clock = 0
  })

  function leaving(change: Partial<DepartingNodesOptions> = {}) {
    const lanes = createNodeLanes('departure', log)
    const nodes = createDepartingNodes({
      installation,
      departing: async () => (forgotten.length === 0 ? [{ uid, name: 'n1' }] : []),
      runtimeOf: () => runtime,
      ownersElsewhere: async () => new Set<string>(),
      forget: async (node) => void forgotten.push(node),
      lanes,
      fence: heldFence,
      log,
      now: () => clock,
      ...change,
    })
    return {
      async tick() {
        await nodes.tick()
        await lanes.idle()
      },
    }
  }

  test('takes containers and networks of the installation with it, and nothing else', async () => {
    await makeSandbox('rep-left')
    await runtime.ensureNetwork({ name: 'other', subnet: '198.18.10.0/26', labels: {} }, heldFence)
    await leaving().tick()
    expect(engine.containers()).toEqual([])
    expect([...engine.state.networks.keys()]).toEqual(['other'])
    expect(forgotten).toEqual([uid])
  })

  test('goes at once when its engine does not answer', async () => {
    await leaving({ runtimeOf: () => undefined }).tick()
    expect(forgotten).toEqual([uid])
  })

  test('leaves alone what belongs to another node at the same engine', async () => {
    await makeSandbox('rep-left')
    await makeSandbox('rep-elsewhere')
    await leaving({ ownersElsewhere: async () => new Set(['rep-elsewhere']) }).tick()
    expect(engine.containers().map(({ body }) => body.Labels[berthLabels.replica])).toEqual(['rep-elsewhere'])
    expect(engine.state.networks.size).toBe(1)
    expect(forgotten).toEqual([uid])
  })

  test('is cleaned up again and again, but not for ever', async () => {
    const stuck = await makeSandbox('rep-stuck')
    engine.fail(`DELETE /containers/${stuck}`, { status: 500, message: 'device or resource busy' })
    const nodes = leaving()
    for (clock = 0; clock < 60_000; clock += 20_000) await nodes.tick()
    expect(forgotten).toEqual([])
    await nodes.tick()
    expect(forgotten).toEqual([uid])
  })
})

describe('the control server', () => {
  async function open(container: string | undefined): Promise<string> {
    const socketPath = join(folder, 'control.sock')
    const locate = (replica: ReplicaId) =>
      container !== undefined && replica === 'rep-1'
        ? { runtime, containerId: container, pastName: `berth-${installation}-rep-past-sandbox` }
        : undefined
    const server = await openControlServer({ socketPath, locate, transfers: () => undefined, log })
    closers.push(() => server.close())
    return socketPath
  }

  const ask = (socketPath: string, path: string) =>
    new Promise<{ status: number; text: string }>((resolve, reject) => {
      const asked = request({ socketPath, path, agent: false }, (response) => {
        let text = ''
        response.setEncoding('utf8')
        response.on('data', (chunk: string) => (text += chunk))
        response.on('end', () => resolve({ status: response.statusCode ?? 0, text }))
      })
      asked.once('error', reject)
      asked.end()
    })

  const linesOf = async (path: string, query: string) =>
    (await ask(path, `/replicas/rep-1/logs?${query}`)).text
      .split('\n')
      .filter(Boolean)
      .map((line) => (JSON.parse(line) as { line: string }).line)

  test('answers 404 for a replica that it does not know', async () => {
    const path = await open(undefined)
    expect(await ask(path, '/replicas/rep-1/logs')).toMatchObject({ status: 404 })
    expect(await ask(path, '/anything')).toMatchObject({ status: 404 })
  })

  test('answers 502 when the engine does not', async () => {
    const path = await open(await makeSandbox('rep-1'))
    engine.fail('GET /containers/*/logs', { status: 500, message: 'broken' })
    expect(await ask(path, '/replicas/rep-1/logs')).toMatchObject({ status: 502 })
  })

  test('answers the lines of a container as JSON', async () => {
    const container = await makeSandbox('rep-1')
    const path = await open(container)
    const answer = await ask(path, '/replicas/rep-1/logs?tail=10')
    expect(answer.status).toBe(200)
    for (const line of answer.text.split('\n').filter(Boolean))
      expect(JSON.parse(line)).toHaveProperty('stream')
  })

  test('answers with `previous` what was printed before the last start', async () => {
    const id = await makeSandbox('rep-1')
    const path = await open(id)
    const lines = (query: string) => linesOf(path, query)
    const print = (line: string) => engine.state.find(id).log.push({ at: new Date(), line })
    expect(await lines('previous=true')).toEqual([])
    await runtime.startContainer(id, heldFence)
    print('first')
    print('second')
    await runtime.stop(id, 0, heldFence)
    await delay(5)
    await runtime.startContainer(id, heldFence)
    await delay(5)
    print('third')
    expect(await lines('previous=true')).toEqual(['first', 'second'])
    expect(await lines('previous=true&tail=1&follow=true')).toEqual(['second'])
    expect(await lines('tail=1')).toEqual(['third'])
  })

  test('answers what the container before this one has printed first', async () => {
    const [past, id] = [await makeSandbox('rep-past'), await makeSandbox('rep-1')]
    const path = await open(id)
    const print = (container: string, line: string) =>
      engine.state.find(container).log.push({ at: new Date(), line })
    for (const line of ['one', 'two']) print(past, line)
    await delay(5)
    await runtime.startContainer(id, heldFence)
    await delay(5)
    for (const line of ['three', 'four']) print(id, line)
    expect(await linesOf(path, '')).toEqual(['one', 'two', 'three', 'four'])
    expect(await linesOf(path, 'tail=3')).toEqual(['two', 'three', 'four'])
    expect(await linesOf(path, 'tail=2&follow=true')).toEqual(['three', 'four'])
    expect(await linesOf(path, 'previous=true')).toEqual(['one', 'two'])
    expect(await linesOf(path, `since=${engine.state.find(id).startedAt?.getTime()}`)).toEqual([
      'three',
      'four',
    ])
  })
})
