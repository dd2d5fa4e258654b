import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { dirname, join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { identify, isAlive } from '../../infra/src/machine/process-identity.ts'
import { askEdge } from '../support/edge.ts'
import { freePorts } from '../support/free-ports.ts'
import { until } from '../support/poll.ts'

const projectFolder = resolve(import.meta.dirname, '../..')
const { data: platformData, engines, slot } = inject('platform')
const data = join(dirname(platformData), 'up')
let env: NodeJS.ProcessEnv
let ports: Awaited<ReturnType<typeof freePorts>>

type Ran = { code: number; output: string }

/** Runs the entry as a user would, with a data folder and ports of its own and a test engine as the local one. */
function berth(...args: string[]): Promise<Ran> {
  return new Promise((resolve) => {
    const options = { env, cwd: projectFolder, timeout: 200_000 }
    execFile(join(projectFolder, 'berth'), args, options, (error, stdout, stderr) => {
      const code = error === null ? 0 : typeof error.code === 'number' ? error.code : 1
      resolve({ code, output: `${stdout}${stderr}` })
    })
  })
}

type Status = { processes: { name: string; state: string; pid: number | null }[]; pid: number }
const status = async () => JSON.parse((await berth('status', '--json')).output) as Status

const sample = () => askEdge(ports.edge, { host: `hello.localhost:${ports.edge}` })

beforeAll(async () => {
  ports = await freePorts()
  env = {
    ...process.env,
    BERTH_DATA: data,
    BERTH_EDGE_PORT: String(ports.edge),
    BERTH_API_PORT: String(ports.api),
    BERTH_ROUTER_ADMIN_PORT: String(ports.routerAdmin),
    BERTH_WORKER_ADMIN_PORT: String(ports.workerAdmin),
    BERTH_REGISTRY_PORT: String(ports.registry),
    // Within the slot's own block, whose bridges the tests clear away.
    BERTH_NETWORK_CIDR: `198.19.${slot * 32 + 24}.0/22`,
    DOCKER_HOST: `unix://${engines[0]?.socketPath}`,
    DATABASE_URL: '',
    REDIS_URL: '',
  }
})
afterAll(() => berth('down'))

describe('./berth', () => {
  test('up ends with a sample that answers, and again changes nothing', async () => {
    const first = await berth('up')
    expect(first).toMatchObject({ code: 0 })
    expect(first.output).toContain(`http://hello.localhost:${ports.edge}`)
    expect((await sample()).status).toBe(200)
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

  test('down leaves no process and no listening port, and up brings the sample back', async () => {
    const { processes } = await status()
    const running = processes.flatMap(({ pid }) => (pid === null ? [] : (identify(pid) ?? [])))
    expect(running.length).toBeGreaterThan(4)
    expect(await berth('down')).toMatchObject({ code: 0 })
    expect(running.filter(isAlive)).toEqual([])
    await expect(sample()).rejects.toThrow(/ECONNREFUSED/)
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
