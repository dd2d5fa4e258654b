import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { connectEngine } from './connect-engine.ts'
import type { AppSpec, ContainerRuntime, SandboxSpec } from './container-runtime.ts'
import { isEngineError, LeaseLostError, NameConflictError } from './engine-error.ts'
import { localImageName } from './local-image-name.ts'
import {
  type FakeAppBehaviour,
  type FakeEngine,
  heldFence,
  lostFence,
  startFakeEngine,
} from './testing/index.ts'

let engine: FakeEngine
let runtime: ContainerRuntime
let behaviour: FakeAppBehaviour

const labels = { 'berth.installation': 'test', 'berth.replica': 'rep-1' }
const digest = `sha256:${'a'.repeat(64)}`
const network = { name: 'berth-test', subnet: '198.18.5.0/24', labels: { 'berth.installation': 'test' } }
const noFence = { check: () => expect.unreachable('nothing may be asked') }

function sandbox(change: Partial<SandboxSpec> = {}): SandboxSpec {
  return {
    name: 'berth-test-rep-1-sandbox',
    network: 'berth-test',
    hostAddress: '127.0.0.1',
    hostPort: 0,
    containerPort: 8080,
    image: 'berth-sandbox:1',
    labels,
    ...change,
  }
}

function app(sandboxId: string, change: Partial<AppSpec> = {}): AppSpec {
  return {
    name: 'berth-test-rep-1-app',
    sandboxId,
    image: 'hello',
    command: [],
    args: [],
    env: { PORT: '8080', TOKEN: 'very-secret' },
    memoryBytes: 64 * 1024 ** 2,
    cpuMillis: 1000,
    labels,
    ...change,
  }
}

async function startedReplica(): Promise<{ sandboxId: string; appId: string }> {
  const sandboxId = await runtime.createSandbox(sandbox(), heldFence)
  await runtime.startContainer(sandboxId, heldFence)
  const appId = await runtime.createApp(app(sandboxId), heldFence)
  await runtime.startContainer(appId, heldFence)
  return { sandboxId, appId }
}

async function failureOf(call: Promise<unknown>): Promise<unknown> {
  return await call.then(
    () => expect.unreachable('the call succeeded'),
    (error: unknown) => error,
  )
}

beforeEach(async () => {
  behaviour = {}
  engine = await startFakeEngine({ app: () => behaviour })
  engine.addImage('berth-sandbox:1')
  engine.addImage('hello', { user: '1000' })
  runtime = connectEngine(engine.endpoint)
})
afterEach(async () => {
  runtime.close()
  await engine.stop()
})

describe('an engine', () => {
  test('says its version and what its machine has', async () => {
    expect(await runtime.ping()).toEqual({ apiVersion: '1.41', engineVersion: '20.10.99' })
    expect(await runtime.info()).toMatchObject({ architecture: 'amd64', cpus: 4, os: 'linux' })
  })

  test('newer than Berth is spoken to in the newest version that Berth knows', async () => {
    const newer = await startFakeEngine({ apiVersion: '1.60' })
    const its = connectEngine(newer.endpoint)
    expect((await its.ping()).apiVersion).toBe('1.47')
    its.close()
    await newer.stop()
  })

  test('below API 1.41 is refused', async () => {
    const older = await startFakeEngine({ apiVersion: '1.40' })
    const its = connectEngine(older.endpoint)
    expect(await failureOf(its.ping())).toMatchObject({ code: 'EngineTooOld', retryable: false })
    its.close()
    await older.stop()
  })

  test('that is not there is unreachable, and a mutation is refused, not unknown', async () => {
    const nobody = connectEngine({ kind: 'unix', path: '/nonexistent/e.sock' })
    expect(await failureOf(nobody.pause('x', heldFence))).toMatchObject({
      code: 'EngineUnreachable',
      outcome: 'refused',
    })
  })

  test('that takes the connection and says nothing is unreachable long before its deadline', async () => {
    // TLS begins with a word of the engine's, which never comes.
    const silent = createServer().listen(0, '127.0.0.1')
    await once(silent, 'listening')
    const { port } = silent.address() as AddressInfo
    const tls = { ca: '', cert: '', key: '' }
    const its = connectEngine(
      { kind: 'tcp', host: '127.0.0.1', port, tls },
      { limits: { connectMs: 100, pingMs: 10_000 } },
    )
    const failure = await failureOf(its.ping())
    expect(failure).toMatchObject({ code: 'EngineUnreachable', outcome: 'refused' })
    expect(String(failure)).toContain('ETIMEDOUT')
    its.close()
    silent.close()
  })

  test('is given all the time of a call once it is connected', async () => {
    const its = connectEngine(engine.endpoint, { limits: { connectMs: 50 } })
    engine.delay('GET /_ping', { ms: 200 })
    expect(await its.ping()).toMatchObject({ apiVersion: '1.41' })
    engine.delay('GET /info', { ms: 200 })
    expect(await its.info()).toMatchObject({ os: 'linux' })
    its.close()
  })

  test('that hangs answers a ping with a timeout', async () => {
    engine.hang('GET /_ping')
    expect(await failureOf(runtime.ping())).toMatchObject({ code: 'EngineTimeout', retryable: true })
  })
})

describe('a fence', () => {
  test('that has lost its lease lets nothing out', async () => {
    await runtime.ping()
    const before = engine.calls.length
    const mutations = [
      runtime.createSandbox(sandbox(), lostFence),
      runtime.startContainer('x', lostFence),
      runtime.pause('x', lostFence),
      runtime.unpause('x', lostFence),
      runtime.stop('x', 1, lostFence),
      runtime.kill('x', lostFence),
      runtime.remove('x', lostFence),
      runtime.rename('x', 'y', lostFence),
      runtime.removeNetwork('x', lostFence),
      runtime.tagImage('x', 'y:1', lostFence),
      runtime.removeImage('x', lostFence),
      runtime.loadImage(Buffer.alloc(0), lostFence),
      runtime.buildFromTar({ tar: Buffer.alloc(0), tag: 'x:1' }, lostFence),
    ]
    for (const mutation of mutations) expect(await failureOf(mutation)).toBeInstanceOf(LeaseLostError)
    expect(engine.calls.length).toBe(before)
  })
})

describe('creating', () => {
  test('twice gives the same container', async () => {
    const id = await runtime.createSandbox(sandbox(), heldFence)
    expect(await runtime.createSandbox(sandbox(), heldFence)).toBe(id)
    expect(engine.containers()).toHaveLength(1)
  })

  test.each([
    ['another port', sandbox({ hostPort: 20_001 }), 'ports'],
    ['another network', sandbox({ network: 'elsewhere' }), 'network'],
    ['another replica', sandbox({ labels: { ...labels, 'berth.replica': 'rep-2' } }), 'label berth.replica'],
  ])('what exists with %s is a conflict that names it', async (_, wanted, difference) => {
    await runtime.createSandbox(sandbox(), heldFence)
    const failure = await failureOf(runtime.createSandbox(wanted, heldFence))
    expect(failure).toBeInstanceOf(NameConflictError)
    expect((failure as NameConflictError).differences).toEqual([difference])
  })

  test('whose answer is lost finds the container by its name', async () => {
    engine.cut('POST /containers/create', { times: 1 })
    const id = await runtime.createSandbox(sandbox(), heldFence)
    expect(engine.containers().map((each) => each.id)).toEqual([id])
  })

  test('that broke before it took effect is unknown', async () => {
    engine.cut('POST /containers/create', { times: 1, before: true })
    const failure = await failureOf(runtime.createSandbox(sandbox(), heldFence))
    expect(failure).toMatchObject({ code: 'EngineUnreachable', outcome: 'unknown' })
  })

  test('never repeats values of variables', async () => {
    engine.fail('POST /containers/create', {
      status: 400,
      message: 'bad variable TOKEN=very-secret in very-secret',
    })
    const failure = await failureOf(runtime.createApp(app('none'), heldFence))
    expect(String(failure)).not.toContain('very-secret')
    expect(JSON.stringify(failure)).not.toContain('very-secret')
  })

  test('of an image that the node lacks is refused', async () => {
    const failure = await failureOf(runtime.createApp(app('none', { image: 'other' }), heldFence))
    expect(failure).toMatchObject({ code: 'ImageNotFound', retryable: false })
  })
})

describe('a replica', () => {
  test('goes up and down the ladder, and every step twice is the same as once', async () => {
    const { appId } = await startedReplica()
    const steps: [(id: string) => Promise<void>, string][] = [
      [(id) => runtime.startContainer(id, heldFence), 'running'],
      [(id) => runtime.pause(id, heldFence), 'paused'],
      [(id) => runtime.pause(id, heldFence), 'paused'],
      [(id) => runtime.unpause(id, heldFence), 'running'],
      [(id) => runtime.unpause(id, heldFence), 'running'],
      [(id) => runtime.stop(id, 1, heldFence), 'exited'],
      [(id) => runtime.stop(id, 1, heldFence), 'exited'],
      [(id) => runtime.kill(id, heldFence), 'exited'],
      [(id) => runtime.startContainer(id, heldFence), 'running'],
    ]
    for (const [step, state] of steps) {
      await step(appId)
      expect((await runtime.inspect(appId))?.state).toBe(state)
    }
    await runtime.remove(appId, heldFence)
    await runtime.remove(appId, heldFence)
    expect(await runtime.inspect(appId)).toBeNull()
  })

  test.each(['start', 'pause', 'unpause', 'stop', 'kill'] as const)(
    'is where it should be when the answer of %s was lost',
    async (verb) => {
      const { appId } = await startedReplica()
      if (verb === 'start') await runtime.stop(appId, 1, heldFence)
      if (verb === 'unpause') await runtime.pause(appId, heldFence)
      engine.cut(`POST /containers/*/${verb}`, { times: 1 })
      if (verb === 'stop') await runtime.stop(appId, 1, heldFence)
      else if (verb === 'start') await runtime.startContainer(appId, heldFence)
      else await runtime[verb](appId, heldFence)
    },
  )

  test('that ended cannot be unfrozen', async () => {
    const { appId } = await startedReplica()
    engine.exit(appId, { exitCode: 1 })
    expect(isEngineError(await failureOf(runtime.unpause(appId, heldFence)))).toBe(true)
  })

  test('that ran out of memory says so', async () => {
    const { appId } = await startedReplica()
    engine.exit(appId, { exitCode: 137, oomKilled: true })
    expect(await runtime.inspect(appId)).toMatchObject({ state: 'exited', exitCode: 137, oomKilled: true })
  })

  test('does not start in a dead sandbox, nor in one that is gone', async () => {
    const { sandboxId, appId } = await startedReplica()
    await runtime.stop(appId, 1, heldFence)
    await runtime.stop(sandboxId, 1, heldFence)
    expect(await failureOf(runtime.startContainer(appId, heldFence))).toMatchObject({ code: 'SandboxDead' })
    await runtime.remove(sandboxId, heldFence)
    expect(await failureOf(runtime.startContainer(appId, heldFence))).toMatchObject({ code: 'SandboxDead' })
  })

  test('whose port is taken says so', async () => {
    for (const [name, expected] of [
      ['one', undefined],
      ['two', 'PortTaken'],
    ] as const) {
      const id = await runtime.createSandbox(sandbox({ name, hostPort: 20_500 }), heldFence)
      const code = await runtime.startContainer(id, heldFence).catch((error: { code: string }) => error.code)
      expect(code).toBe(expected)
    }
  })

  test('is not found by a part of its id', async () => {
    const { appId } = await startedReplica()
    expect(await runtime.inspect(appId.slice(0, 12))).toBeNull()
    expect((await runtime.inspect('berth-test-rep-1-app'))?.id).toBe(appId)
  })

  test('is listed by installation only', async () => {
    const { sandboxId, appId } = await startedReplica()
    const listed = await runtime.list({ installation: 'test' })
    expect(listed.map((each) => each.id).sort()).toEqual([sandboxId, appId].sort())
    expect(await runtime.list({ installation: 'other' })).toEqual([])
  })

  test('shows where it listens, read from inside', async () => {
    const { sandboxId, appId } = await startedReplica()
    expect(await runtime.readListeners(sandboxId)).toEqual([{ address: '0.0.0.0', port: 8080 }])
    await runtime.stop(appId, 1, heldFence)
    expect(await runtime.readListeners(sandboxId)).toEqual([])
    expect(await runtime.networkAddressOf(sandboxId)).toMatch(/^198\.19\.0\./)
  })

  test('has a log and a usage', async () => {
    behaviour = { prints: ['one', 'two', 'three'] }
    const { appId } = await startedReplica()
    const lines: string[] = []
    for await (const { line } of runtime.logs(appId, { tail: 2 })) lines.push(line)
    expect(lines).toEqual(['two', 'three'])
    expect(await runtime.usage(appId)).toMatchObject({ memoryBytes: 1_500_000, pids: 1 })
  })

  test('that somebody else is removing counts as removed once it is gone', async () => {
    const { appId } = await startedReplica()
    engine.fail('DELETE /containers/*', {
      status: 409,
      message: 'removal of container x is already in progress',
    })
    const removal = runtime.remove(appId, heldFence)
    engine.state.remove(engine.state.find(appId))
    await removal
  })
})

describe('a network', () => {
  test('is made once, adopted after that, and refused with another subnet', async () => {
    const id = await runtime.ensureNetwork(network, heldFence)
    expect(await runtime.ensureNetwork(network, noFence)).toBe(id)
    const failure = await failureOf(runtime.ensureNetwork({ ...network, subnet: '198.18.6.0/24' }, noFence))
    expect((failure as NameConflictError).differences).toEqual(['subnet'])
    expect(await runtime.listNetworks('test')).toMatchObject([
      { name: 'berth-test', subnet: '198.18.5.0/24' },
    ])
    await runtime.removeNetwork('berth-test', heldFence)
    await runtime.removeNetwork('berth-test', heldFence)
    expect(await runtime.listNetworks('test')).toEqual([])
  })

  test('is not taken for one whose name begins the same', async () => {
    const other = { ...network, name: 'berth-test-2', subnet: '198.18.6.0/24' }
    const id = await runtime.ensureNetwork(other, heldFence)
    expect(await runtime.ensureNetwork(network, heldFence)).not.toBe(id)
  })

  test('whose answer was lost is found by its name', async () => {
    engine.cut('POST /networks/create', { times: 1 })
    expect(await runtime.ensureNetwork(network, heldFence)).toBe(engine.state.networks.get('berth-test')?.id)
  })

  test('that is in use stays', async () => {
    await runtime.ensureNetwork(network, heldFence)
    await startedReplica()
    expect(await failureOf(runtime.removeNetwork('berth-test', heldFence))).toMatchObject({
      code: 'Conflict',
    })
  })
})

describe('pulling', () => {
  const request = {
    registryAddress: '127.0.0.1:5050',
    repository: 'acme/hello',
    digest,
    architecture: 'amd64',
  }
  const remote = `127.0.0.1:5050/acme/hello@${digest}`

  test('gives the image a name that does not depend on the registry', async () => {
    engine.addRemoteImage(remote)
    const seen: string[] = []
    const image = await runtime.pull({ ...request, onProgress: ({ status }) => seen.push(status) }, heldFence)
    expect((await runtime.inspectImage(localImageName('acme/hello', digest)))?.id).toBe(image.id)
    expect(seen).toContain('Downloading')
  })

  test('what is there asks nobody', async () => {
    engine.addRemoteImage(remote)
    await runtime.pull(request, heldFence)
    await runtime.pull(request, noFence)
  })

  test('what the registry lacks is terminal', async () => {
    expect(await failureOf(runtime.pull(request, heldFence))).toMatchObject({
      code: 'ImageNotFound',
      retryable: false,
      reason: 'ImageNotFound',
    })
  })

  test('an image for another processor leaves nothing', async () => {
    engine.addRemoteImage(remote, { architecture: 'arm64' })
    expect(await failureOf(runtime.pull(request, heldFence))).toMatchObject({ code: 'ArchitectureMismatch' })
    expect(await runtime.inspectImage(remote)).toBeNull()
  })

  test('that fails halfway is not done, though the answer ends well', async () => {
    engine.addRemoteImage(remote)
    engine.breakPull('unauthorized: authentication required')
    expect(await failureOf(runtime.pull(request, heldFence))).toMatchObject({ code: 'RegistryAuthRequired' })
    expect(await runtime.inspectImage(localImageName('acme/hello', digest))).toBeNull()
  })

  test('is not done when the stream is cut', async () => {
    engine.addRemoteImage(remote)
    engine.cut('POST /images/create', { times: 1 })
    expect(await failureOf(runtime.pull(request, heldFence))).toMatchObject({ code: 'EngineUnreachable' })
  })

  test.each([
    ['Get "http://x/v2/": dial tcp: connect: connection refused', 'RegistryUnreachable'],
    ['unauthorized: authentication required', 'RegistryAuthRequired'],
    ['write /layer: no space left on device', 'NoSpace'],
  ])('tells %s apart', async (message, code) => {
    engine.fail('POST /images/create', { status: 500, message })
    expect(await failureOf(runtime.pull(request, heldFence))).toMatchObject({ code })
  })

  test('ends when the caller does not want it any more', async () => {
    engine.hang('POST /images/create')
    const stop = new AbortController()
    const failure = failureOf(
      runtime.pull({ ...request, signal: stop.signal }, { check: () => queueMicrotask(() => stop.abort()) }),
    )
    expect(await failure).toMatchObject({ code: 'Aborted' })
  })
})

describe('an engine that hangs', () => {
  // Only what these tests wait for is short: everything else has its time, however busy the machine.
  const limits = { stopMarginMs: 300, removeMs: 300, stallMs: 300 }
  let impatient: ContainerRuntime

  beforeEach(() => {
    impatient = connectEngine(engine.endpoint, { limits })
  })
  afterEach(() => impatient.close())

  test('leaves a mutation unknown at its deadline', async () => {
    const { appId } = await startedReplica()
    engine.hang('POST /containers/*/stop')
    expect(await failureOf(impatient.stop(appId, 0, heldFence))).toMatchObject({
      code: 'EngineTimeout',
      outcome: 'unknown',
    })
    expect((await runtime.inspect(appId))?.state).toBe('running')
  })

  test('answers no question either', async () => {
    engine.hang('GET /containers/json')
    const hasty = connectEngine(engine.endpoint, { limits: { readMs: 300 } })
    const failure = await failureOf(hasty.list({ installation: 'test' }))
    expect(failure).toMatchObject({ code: 'EngineTimeout', outcome: 'refused' })
    hasty.close()
  })

  test('ends a pull that stands still', async () => {
    engine.hang('POST /images/create')
    const request = { registryAddress: '127.0.0.1:5050', repository: 'acme/hello', digest }
    expect(await failureOf(impatient.pull(request, heldFence))).toMatchObject({
      code: 'PullStalled',
      outcome: 'unknown',
    })
  })

  test('ends a pull that stands still after it has begun', async () => {
    engine.addRemoteImage(`127.0.0.1:5050/acme/hello@${digest}`)
    engine.stallPull()
    const seen: string[] = []
    const onProgress = ({ status }: { status: string }) => seen.push(status)
    const request = { registryAddress: '127.0.0.1:5050', repository: 'acme/hello', digest, onProgress }
    expect(await failureOf(impatient.pull(request, heldFence))).toMatchObject({ code: 'PullStalled' })
    expect(seen).toContain('Downloading')
  })

  test('ends a removal that never comes to an end', async () => {
    const { appId } = await startedReplica()
    engine.fail('DELETE /containers/*', {
      status: 409,
      message: 'removal of container x is already in progress',
    })
    expect(await failureOf(impatient.remove(appId, heldFence))).toMatchObject({ code: 'Conflict' })
  })
})

describe('events', () => {
  test('go on for longer than an answer may take to begin', async () => {
    const stop = new AbortController()
    const limits = { readMs: 1_500 }
    const hasty = connectEngine(engine.endpoint, { limits })
    const first = hasty.events(Date.now(), stop.signal)[Symbol.asyncIterator]().next()
    await expect.poll(() => engine.state.listeners.size, { timeout: 20_000 }).toBe(1)
    await delay(limits.readMs * 1.5)
    await runtime.createSandbox(sandbox(), heldFence)
    expect((await first).value).toMatchObject({ action: 'create', labels })
    stop.abort()
    hasty.close()
  })

  test('that were missed are told again to whoever asks for them', async () => {
    const since = Date.now()
    await startedReplica()
    const seen: string[] = []
    for await (const event of runtime.events(since, AbortSignal.timeout(20_000))) {
      seen.push(event.action)
      if (seen.length === 4) break
    }
    expect(seen).toEqual(['create', 'start', 'create', 'start'])
  })

  test('tell of containers until nobody listens any more', async () => {
    const stop = new AbortController()
    const seen: string[] = []
    const reading = (async () => {
      for await (const event of runtime.events(Date.now(), stop.signal)) {
        seen.push(event.action)
        if (event.action === 'start') stop.abort()
      }
    })()
    await expect.poll(() => engine.state.listeners.size, { timeout: 20_000 }).toBe(1)
    await startedReplica()
    await reading
    expect(seen).toEqual(['create', 'start'])
  })
})

describe('a held app', () => {
  async function heldReplica() {
    const sandboxId = await runtime.createSandbox(sandbox(), heldFence)
    await runtime.startContainer(sandboxId, heldFence)
    const appId = await runtime.createApp(app(sandboxId, { held: true }), heldFence)
    await runtime.startContainer(appId, heldFence)
    return { sandboxId, appId }
  }

  test('runs without having begun, until it is released', async () => {
    const { sandboxId, appId } = await heldReplica()
    expect(await runtime.inspect(appId)).toMatchObject({ state: 'running', holds: true })
    expect(await runtime.isHeld(sandboxId)).toBe(true)
    expect(await runtime.readListeners(sandboxId)).toEqual([])
    for (let times = 0; times < 2; times += 1) await runtime.release(appId, heldFence)
    expect(await runtime.isHeld(sandboxId)).toBe(false)
    expect(await runtime.readListeners(sandboxId)).toHaveLength(1)
  })

  test.each([true, false])('is released once more when the answer was lost (before: %s)', async (before) => {
    const { sandboxId, appId } = await heldReplica()
    engine.cut('POST /containers/*/kill', { times: 1, before })
    await runtime.release(appId, heldFence)
    expect(await runtime.readListeners(sandboxId)).toHaveLength(1)
  })

  test('is not released when it does not run', async () => {
    const { appId } = await heldReplica()
    await runtime.stop(appId, 10, heldFence)
    expect(isEngineError(await failureOf(runtime.release(appId, heldFence)), 'Conflict')).toBe(true)
  })

  test('begins with its next start once its hold is lifted', async () => {
    const { sandboxId, appId } = await heldReplica()
    await runtime.stop(appId, 10, heldFence)
    await runtime.setHold(appId, 'passing', heldFence)
    await runtime.startContainer(appId, heldFence)
    expect(await runtime.isHeld(sandboxId)).toBe(false)
    expect(await runtime.readListeners(sandboxId)).toHaveLength(1)
  })

  test('is adopted by a start that holds nothing, which lifts its hold', async () => {
    const { sandboxId, appId } = await heldReplica()
    await runtime.stop(appId, 10, heldFence)
    expect(await runtime.createApp(app(sandboxId), heldFence)).toBe(appId)
    await runtime.startContainer(appId, heldFence)
    expect(await runtime.readListeners(sandboxId)).toHaveLength(1)
    const other = app(sandboxId, { command: ['/bin/other'] })
    expect(await failureOf(runtime.createApp(other, heldFence))).toBeInstanceOf(NameConflictError)
  })

  test('needs its fence for each of these', async () => {
    const { sandboxId, appId } = await heldReplica()
    const before = engine.calls.length
    for (const call of [
      runtime.release(appId, lostFence),
      runtime.setHold(appId, 'passing', lostFence),
      runtime.createApp(app(sandboxId, { name: 'x', held: true }), lostFence),
    ])
      expect(await failureOf(call)).toBeInstanceOf(LeaseLostError)
    expect(engine.calls.slice(before).filter((call) => !call.startsWith('GET'))).toEqual([])
  })
})
