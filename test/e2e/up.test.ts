import { readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:net'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { apiClient } from '../../infra/src/api-client.ts'
import { portState } from '../../infra/src/machine/port-holder.ts'
import { identify, isAlive } from '../../infra/src/machine/process-identity.ts'
import { berthEntry } from '../support/berth-entry.ts'
import { listContainers } from '../support/containers.ts'
import { askEdge } from '../support/edge.ts'
import { freePorts } from '../support/free-ports.ts'
import { until } from '../support/poll.ts'

const { data: platformData, engines, slot } = inject('platform')
const [engine] = engines
const data = join(dirname(platformData), 'up')
let berth: ReturnType<typeof berthEntry>
let ports: Awaited<ReturnType<typeof freePorts>>

type Status = { installation: string; processes: { name: string; state: string; pid: number | null }[] }
const status = async () => JSON.parse((await berth('status', '--json')).output) as Status

/** What the engine of node `local` holds of an installation. */
const containersOf = (installation: string) =>
  engine === undefined ? Promise.reject(new Error('no engine')) : listContainers(engine, installation)

const sample = () => askEdge(ports.edge, { host: `hello.localhost:${ports.edge}` })

type Answer = {
  service: string
  revision: string
  hostname: string
  requests: number
  headers: Record<string, string>
}

/** The sample says which revision and replica it is, counts, and shows what reached it. */
async function expectToKnowItself(): Promise<void> {
  const first = (await sample()).json<Answer>()
  const second = (await sample()).json<Answer>()
  expect(first).toMatchObject({ service: 'hello', revision: 'hello-00001' })
  expect(second).toMatchObject({ hostname: first.hostname, requests: first.requests + 1 })
  expect(second.headers).toMatchObject({
    host: `hello.localhost:${ports.edge}`,
    'x-forwarded-proto': 'http',
    'x-forwarded-for': expect.any(String) as string,
    'x-request-id': expect.any(String) as string,
    traceparent: expect.any(String) as string,
  })
  const token = (await readFile(join(data, 'admin-token'), 'utf8')).trim()
  const { body } = await apiClient(ports.api, token).expect([200], 'GET', '/services/hello/replicas')
  const { items } = body as { items: { containers: { name: string; id: string }[] }[] }
  const sandboxes = items.flatMap(({ containers }) => containers.filter(({ name }) => name === 'sandbox'))
  expect(sandboxes.map(({ id }) => id.slice(0, 12))).toContain(first.hostname)
}

beforeAll(async () => {
  ports = await freePorts()
  const networkCidr = `198.19.${slot * 32 + 24}.0/22`
  berth = berthEntry({ data, ports, engineSocket: engine?.socketPath ?? '', networkCidr })
})
afterAll(() => berth('down'))

describe('./berth', () => {
  test('up ends with a sample that answers, and again changes nothing', async () => {
    const first = await berth('up')
    expect(first).toMatchObject({ code: 0 })
    expect(first.output).toContain(`http://hello.localhost:${ports.edge}`)
    expect((await sample()).status).toBe(200)
    await expectToKnowItself()
    const before = await status()
    const second = await berth('up')
    expect(second).toMatchObject({ code: 0 })
    expect(second.output).not.toContain('Installing')
    expect((await status()).processes).toEqual(
      before.processes.map((each) => expect.objectContaining({ pid: each.pid })),
    )
  })

  test('up repairs what a killed supervisor left behind', async () => {
    const { processes } = await status()
    const old = processes.flatMap(({ pid }) => (pid === null ? [] : [pid]))
    const parent = /^PPid:\t(\d+)$/m.exec(readFileSync(`/proc/${old[0]}/status`, 'utf8'))?.[1]
    process.kill(Number(parent), 'SIGKILL')
    const again = await berth('up')
    expect(again.output).toContain('Berth is up')
    expect(again.code).toBe(0)
    const now = (await status()).processes.map(({ pid }) => pid)
    for (const pid of old) expect(now).not.toContain(pid)
    await until(async () => (await sample()).status === 200, {
      timeoutMs: 60_000,
      describe: 'the sample to answer',
    })
  })

  test('down leaves no process, no listening port and no container, and up brings the sample back', async () => {
    const { processes, installation } = await status()
    expect(await containersOf(installation)).not.toEqual([])
    const running = processes.flatMap(({ pid }) => (pid === null ? [] : (identify(pid) ?? [])))
    expect(running.length).toBeGreaterThan(4)
    expect(await berth('down')).toMatchObject({ code: 0 })
    expect(running.filter(isAlive)).toEqual([])
    await expect(sample()).rejects.toThrow(/ECONNREFUSED/)
    for (const port of Object.values(ports)) expect(await portState(port, '127.0.0.1')).toBe('free')
    expect(await portState(ports.edge, '::1')).not.toBe('taken')
    // The engine itself goes on, with nothing of this Berth left on it.
    expect(await containersOf(installation)).toEqual([])
    expect(await berth('up')).toMatchObject({ code: 0 })
    await until(async () => (await sample()).status === 200, {
      timeoutMs: 60_000,
      describe: 'the sample to answer',
    })
  })

  test('up names the port that somebody else has, and its variable', async () => {
    await berth('down')
    const other: Server = createServer().listen(ports.api, '127.0.0.1')
    const refused = await berth('up')
    await new Promise((resolve) => other.close(resolve))
    expect(refused.code).not.toBe(0)
    expect(refused.output).toContain(String(ports.api))
    expect(refused.output).toContain('BERTH_API_PORT')
    expect(
      refused.output
        .trim()
        .split('\n')
        .filter((line) => line.startsWith('berth:')),
    ).toHaveLength(1)
  })
})
