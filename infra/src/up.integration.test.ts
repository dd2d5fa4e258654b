import { spawn } from 'node:child_process'
import { mkdir } from 'node:fs/promises'
import { createServer, type Server } from 'node:net'
import { join, resolve } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { until } from '../../test/support/poll.ts'
import { claimSlot, note, type Slot } from '../../test/support/slot.ts'
import { callHttp } from './http-call.ts'
import { identify } from './machine/process-identity.ts'
import { runFolderOf } from './run-folder.ts'
import { portVariables } from './settings.ts'
import { readStatus } from './supervisor/control-client.ts'
import { readRecord } from './supervisor/process-record.ts'
import type { SupervisorStatus } from './supervisor/supervisor.ts'
import { makeStandInProject } from './testing/stand-in-project.ts'

/*
 * The real commands with real stores and stand-in apps. The project lies in a folder that only its owner may
 * enter, as a clone in /root does.
 */

let slot: Slot
let project: string
let socket: string
let env: NodeJS.ProcessEnv
let ports: { edge: number; api: number }

beforeAll(async () => {
  slot = await claimSlot()
  const closed = join(slot.folder, 'closed')
  await mkdir(closed, { mode: 0o700 })
  project = join(closed, 'project')
  await makeStandInProject(resolve(import.meta.dirname, '../..'), project)
  const run = runFolderOf(join(project, '.berth'))
  note(slot, 'processFiles', run.processFile)
  socket = run.supervisorSocket
  const chosen = await freePorts(Object.keys(portVariables).length)
  const variables = Object.values(portVariables).map(({ variable }, index) => [
    variable,
    String(chosen[index]),
  ])
  ports = { edge: chosen[0] ?? 0, api: chosen[1] ?? 0 }
  env = {
    PATH: process.env['PATH'],
    HOME: slot.folder,
    BERTH_LOCAL_NODE: 'none',
    ...(Object.fromEntries(variables) as Record<string, string>),
  }
})

afterEach(async () => {
  await berth('down')
})

afterAll(() => slot.release())

type Ended = { code: number | null; output: string; errors: string }

function berth(...words: string[]): Promise<Ended> {
  return begin(words).ended
}

function begin(words: string[]): { kill(): void; ended: Promise<Ended> } {
  const main = join(project, 'infra/src/main.ts')
  const child = spawn(join(project, 'node_modules/.bin/node'), [main, ...words], { env, cwd: '/' })
  let output = ''
  let errors = ''
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()))
  const ended = new Promise<Ended>((done) => child.once('close', (code) => done({ code, output, errors })))
  return { kill: () => child.kill('SIGKILL'), ended }
}

async function running(): Promise<SupervisorStatus> {
  const status = await readStatus(socket)
  if (status === undefined) throw new Error('no supervisor answers')
  return status
}

const pids = (status: SupervisorStatus) => status.processes.map(({ pid }) => pid ?? 0)

test('up starts everything once; a second up changes nothing; down ends it all', async () => {
  const first = await berth('up')
  expect(first).toMatchObject({ code: 0, errors: '' })
  expect(first.output).toContain('Berth is up.')
  const before = await running()
  expect(before.phase).toBe('ready')
  expect(before.processes.map(({ name, state }) => `${name} ${state}`)).toEqual([
    'postgres ready',
    'redis ready',
    'registry ready',
    'api ready',
    'worker ready',
    'router ready',
  ])
  expect((await berth('up')).code).toBe(0)
  expect(pids(await running())).toEqual(pids(before))
  expect((await berth('status')).output).toContain('is ready.')
  const down = await berth('down')
  expect(down).toMatchObject({ code: 0, errors: '' })
  for (const pid of pids(before)) expect(identify(pid)).toBeUndefined()
  expect((await berth('status')).errors).toBe('berth: Berth is not running; start it with ./berth up.\n')
})

test('the router runs as a user of its own, also from a folder that this user may not enter', async () => {
  await berth('up')
  const answer = await callHttp({ target: { port: ports.edge }, path: '/' })
  expect(answer.body).toBe('65532')
})

test('what a killed up and a killed supervisor left is repaired by the next up', async () => {
  const cut = begin(['up'])
  const half = await until(() => running())
  cut.kill()
  await cut.ended
  const record = await until(async () => {
    const status = await running()
    return status.processes.some(({ state }) => state === 'ready') && status
  })
  const supervisor = supervisorPid()
  process.kill(supervisor, 'SIGKILL')
  await until(() => identify(supervisor) === undefined)
  const repaired = await berth('up')
  expect(repaired).toMatchObject({ code: 0, errors: '' })
  expect((await running()).installation).toBe(half.installation)
  for (const pid of pids(record)) if (pid > 0) expect(identify(pid)).toBeUndefined()
})

test('a port that is taken is named with its variable and its holder', async () => {
  const holder = await hold(ports.api)
  try {
    const refused = await berth('up')
    expect(refused.code).toBe(1)
    expect(refused.errors).toMatch(
      new RegExp(
        `^berth: Port ${ports.api} for the API is taken by .* \\(pid ${process.pid}\\); .*BERTH_API_PORT`,
      ),
    )
    expect(await readStatus(socket)).toBeUndefined()
  } finally {
    await new Promise((done) => holder.close(done))
  }
})

test('a restart of the router keeps its socket and gives a new process', async () => {
  await berth('up')
  const before = (await running()).processes.find(({ name }) => name === 'router')?.pid
  expect(await berth('restart', 'router')).toMatchObject({ code: 0, errors: '' })
  const after = (await running()).processes.find(({ name }) => name === 'router')?.pid
  expect(after).not.toBe(before)
  expect((await callHttp({ target: { port: ports.edge }, path: '/' })).status).toBe(200)
})

function supervisorPid(): number {
  const file = runFolderOf(join(project, '.berth')).processFile
  const pid = readRecord(file).find(({ name }) => name === 'supervisor')?.pid
  if (pid === undefined) throw new Error('the supervisor is not in the record')
  return pid
}

async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(Array.from({ length: count }, () => hold(0)))
  const found = servers.map((server) => {
    const address = server.address()
    return typeof address === 'object' && address !== null ? address.port : 0
  })
  await Promise.all(servers.map((server) => new Promise((done) => server.close(done))))
  return found
}

function hold(port: number): Promise<Server> {
  const server = createServer()
  return new Promise((done, reject) => {
    server.once('error', reject)
    server.listen(port, '127.0.0.1', () => done(server))
  })
}
