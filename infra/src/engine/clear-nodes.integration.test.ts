import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Database, Keyring } from '@berth/db'
import { newId } from '@berth/contracts'
import { createTestDatabase, insertNode, type TestDatabase } from '@berth/db/testing'
import { connectEngine, describeEndpoint } from '@berth/engine'
import { type FakeEngine, heldFence, startFakeEngine } from '@berth/engine/testing'
import { afterEach, beforeEach, describe, expect, inject, test } from 'vitest'
import { makeCertificates } from '../../../test/support/certificates.ts'
import { startEngineFront, type FrontOptions } from '../../../test/support/engine-front.ts'
import { until } from '../../../test/support/poll.ts'
import { type DataFolder, openDataFolder } from '../data-folder.ts'
import { clearNodes } from './clear-nodes.ts'

let folder: string
let data: DataFolder
let database: TestDatabase
let db: Database
const closers: (() => Promise<unknown>)[] = []

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'berth-clear-'))
  data = await openDataFolder(join(folder, 'data'))
  database = await createTestDatabase(inject('postgresUrl'))
  db = database.db
})

afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
  await database.drop()
  await rm(folder, { recursive: true, force: true })
})

/** An engine with a sandbox and `apps` apps in it, all running, of this installation or another. */
async function engineWith(apps: number, installation = data.installation): Promise<FakeEngine> {
  const engine = await startFakeEngine()
  closers.push(() => engine.stop())
  engine.addImage('sandbox:1')
  engine.addImage('app:1')
  const runtime = connectEngine(engine.endpoint)
  const labels = { 'berth.installation': installation }
  const network = { name: 'berth-net', subnet: '198.18.5.0/24', labels }
  await runtime.ensureNetwork(network, heldFence)
  const sandboxId = await runtime.createSandbox(
    {
      name: 'sandbox',
      network: network.name,
      hostAddress: '127.0.0.1',
      hostPort: 0,
      containerPort: 8080,
      image: 'sandbox:1',
      labels: { ...labels, 'berth.role': 'sandbox' },
    },
    heldFence,
  )
  await runtime.startContainer(sandboxId, heldFence)
  for (let index = 0; index < apps; index += 1) {
    const app = {
      name: `app-${index}`,
      sandboxId,
      image: 'app:1',
      command: [],
      args: [],
      env: {},
      memoryBytes: 64 * 1024 ** 2,
      cpuMillis: 100,
      labels: { ...labels, 'berth.role': 'app' },
    }
    await runtime.startContainer(await runtime.createApp(app, heldFence), heldFence)
  }
  runtime.close()
  return engine
}

/** A port that leads to the engine. */
async function front(engine: FakeEngine, options: FrontOptions): Promise<number> {
  const path = engine.endpoint.kind === 'unix' ? engine.endpoint.path : ''
  const started = await startEngineFront(path, options)
  closers.push(() => started.close())
  return started.port
}

const registered = (name: string, engine: FakeEngine) =>
  insertNode(db, { name, endpoint: describeEndpoint(engine.endpoint) })

const clear = () => clearNodes(db, data, heldFence)

/** What was done to containers, by name and in order. */
function steps(engine: FakeEngine, names: ReadonlyMap<string, string>): string[] {
  return engine.calls.flatMap((call) => {
    const [, verb, id = ''] = /^(DELETE|POST) \/containers\/([0-9a-f]+)(?:\/stop)?$/.exec(call) ?? []
    return verb === undefined ? [] : [`${verb === 'POST' ? 'stop' : 'remove'} ${names.get(id)}`]
  })
}

const namesOf = (engine: FakeEngine) => new Map(engine.containers().map(({ id, name }) => [id, name]))

describe('clearing the nodes', () => {
  test('removes what is ours from every node, apps before the sandboxes that they live in', async () => {
    const [one, two] = [await engineWith(2), await engineWith(1)]
    const names = namesOf(one)
    one.delay('POST /containers/*/stop', { ms: 200, times: 1 })
    await registered('n1', one)
    await registered('n2', two)
    expect(await clear()).toEqual({ removed: 5, problems: [] })
    expect([...one.containers(), ...two.containers()]).toEqual([])
    expect(steps(one, names).slice(-2)).toEqual(['stop sandbox', 'remove sandbox'])
  })

  test('leaves the containers of another installation alone', async () => {
    const engine = await engineWith(1, '99999999')
    await registered('n1', engine)
    expect(await clear()).toEqual({ removed: 0, problems: [] })
    expect(engine.containers()).toHaveLength(2)
  })

  test('reaches a node behind mutual TLS with the keys that lie sealed in the database', async () => {
    const engine = await engineWith(1)
    const certificates = makeCertificates(folder)
    await certificates.authority('ca')
    await certificates.certificate('server', 'ca')
    await certificates.certificate('client', 'ca')
    const ca = await certificates.trust('ca')
    const port = await front(engine, { tls: { ...(await certificates.identity('server')), ca } })
    const keyring = await Keyring.fromFile(data.masterKeyFile)
    const uid = newId('NodeUid')
    const keys = JSON.stringify({ ca, ...(await certificates.identity('client')) })
    const tls = keyring.seal(keys, `node:${uid}:tls`)
    await insertNode(db, { uid, name: 'behind-tls', endpoint: `tcp://127.0.0.1:${port}`, tls })
    expect(await clear()).toEqual({ removed: 2, problems: [] })
    expect(engine.containers()).toEqual([])
  })

  test('reaches a node over plain TCP on ::1', async () => {
    const engine = await engineWith(1)
    const port = await front(engine, { host: '::1' })
    await insertNode(db, { name: 'six', endpoint: `tcp://[::1]:${port}` })
    expect(await clear()).toEqual({ removed: 2, problems: [] })
  })

  test('names each node that cannot be cleared, and clears the others', async () => {
    const [good, refusing, hanging] = [await engineWith(1), await engineWith(1), await engineWith(1)]
    refusing.fail('GET /containers/json', { status: 500, message: 'out of luck' })
    hanging.hang('GET /_ping')
    await registered('good', good)
    await registered('refusing', refusing)
    await registered('hanging', hanging)
    await insertNode(db, { name: 'gone', endpoint: 'unix:///nonexistent/docker.sock' })
    const { removed, problems } = await clear()
    expect(removed).toBe(2)
    expect(good.containers()).toEqual([])
    expect(problems).toHaveLength(3)
    for (const name of ['refusing', 'hanging', 'gone'])
      expect(problems.join('\n')).toMatch(
        new RegExp(`^Containers are left on node ${name} \\(unix:.*run ./berth down again`, 'm'),
      )
    expect(problems.join('\n')).toContain('out of luck')
  })

  test('counts the containers that are left', async () => {
    const engine = await engineWith(2)
    const [kept] = engine.containers().filter(({ name }) => name === 'app-0')
    engine.fail(`DELETE /containers/${kept?.id}`, { status: 500, message: 'device or resource busy' })
    await registered('n1', engine)
    const { removed, problems } = await clear()
    expect(removed).toBe(2)
    expect(problems[0]).toContain('1 of 3 containers: ')
    expect(problems[0]).toContain('device or resource busy')
  })

  test('removes one that does not stop', async () => {
    const engine = await engineWith(1)
    engine.fail('POST /containers/*/stop', { status: 500, message: 'cannot stop' })
    await registered('n1', engine)
    expect(await clear()).toEqual({ removed: 2, problems: [] })
  })

  test('asks an engine for eight containers at once and not for more', async () => {
    const engine = await engineWith(11)
    engine.hang('POST /containers/*/stop')
    await registered('n1', engine)
    const cleared = clear()
    const stops = () => engine.calls.filter((call) => call.endsWith('/stop')).length
    await until(() => stops() === 8, { describe: 'eight stops' })
    engine.release()
    expect(await cleared).toEqual({ removed: 12, problems: [] })
  })
})
