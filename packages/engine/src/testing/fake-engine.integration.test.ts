import { once } from 'node:events'
import { get } from 'node:http'
import { type AddressInfo, createServer } from 'node:net'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { connectEngine } from '../connect-engine.ts'
import type { ContainerRuntime } from '../container-runtime.ts'
import type { FakeAppBehaviour } from './fake-container.ts'
import { type FakeEngine, startFakeEngine } from './fake-engine.ts'
import { heldFence } from './fences.ts'

let engine: FakeEngine
let runtime: ContainerRuntime
let behaviour: FakeAppBehaviour
let port: number
let sandboxId: string
let appId: string

const labels = { 'berth.installation': 'test' }

beforeEach(async () => {
  behaviour = {}
  engine = await startFakeEngine({ app: () => behaviour })
  engine.addImage('berth-sandbox:1')
  engine.addImage('hello')
  runtime = connectEngine(engine.endpoint)
  port = await freePort()
  const published = { network: 'n', hostAddress: '127.0.0.1', hostPort: port, containerPort: 8080 }
  sandboxId = await runtime.createSandbox(
    { name: 's', image: 'berth-sandbox:1', labels, ...published },
    heldFence,
  )
  const limits = { memoryBytes: 64 * 1024 ** 2, cpuMillis: 1000 }
  const program = { image: 'hello', command: [], args: [], env: {} }
  appId = await runtime.createApp({ name: 'a', sandboxId, labels, ...program, ...limits }, heldFence)
  await runtime.startContainer(sandboxId, heldFence)
})
afterEach(async () => {
  runtime.close()
  await engine.stop()
})

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

async function ask(): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>()
  get({ host: '127.0.0.1', port, agent: false }, (response) => {
    response.setEncoding('utf8')
    response.once('data', (text: string) => resolve(text))
  }).on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'broken'))
  return await promise
}

const patient = { timeout: 20_000, interval: 10 }

describe('the app of a fake engine', () => {
  test('answers at its published port from its start to its stop', async () => {
    expect(await ask()).toBe('ECONNREFUSED')
    await runtime.startContainer(appId, heldFence)
    await expect.poll(ask, patient).toBe('ok')
    await runtime.stop(appId, 1, heldFence)
    await expect.poll(ask, patient).toBe('ECONNREFUSED')
  })

  test('holds requests while it is paused', async () => {
    await runtime.startContainer(appId, heldFence)
    await expect.poll(ask, patient).toBe('ok')
    await runtime.pause(appId, heldFence)
    let answered = false
    const held = ask().finally(() => (answered = true))
    await runtime.ping()
    expect(answered).toBe(false)
    await runtime.unpause(appId, heldFence)
    expect(await held).toBe('ok')
  })

  test('behaves as the test says', async () => {
    behaviour = {
      handle: (_request, response, container) => void response.end(container.name),
      exitAfterMs: 0,
      exitCode: 7,
    }
    await runtime.startContainer(appId, heldFence)
    await expect.poll(async () => (await runtime.inspect(appId))?.exitCode, patient).toBe(7)
    behaviour = { ...behaviour, exitAfterMs: 600_000 }
    await runtime.startContainer(appId, heldFence)
    await expect.poll(ask, patient).toBe('a')
  })

  test('that never listens is refused', async () => {
    behaviour = { listenAfterMs: 'never' }
    await runtime.startContainer(appId, heldFence)
    expect(await runtime.readListeners(sandboxId)).toEqual([])
    expect(await ask()).toBe('ECONNREFUSED')
  })

  test('loses its port with its sandbox', async () => {
    await runtime.startContainer(appId, heldFence)
    await expect.poll(ask, patient).toBe('ok')
    await runtime.stop(sandboxId, 1, heldFence)
    await expect.poll(ask, patient).toBe('ECONNREFUSED')
  })
})
