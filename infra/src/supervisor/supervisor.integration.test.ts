import { mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { until } from '../../../test/support/poll.ts'
import { callHttp } from '../http-call.ts'
import { identify, isAlive } from '../machine/process-identity.ts'
import { bindSocket, type ListeningSocket } from './listening-socket.ts'
import { ProcessRecord, readRecord, stopLeftovers } from './process-record.ts'
import type { ProcessSpec } from './process-spec.ts'
import { type StartPlan, Supervisor } from './supervisor.ts'

let folder: string
let recordFile: string
const supervisors: Supervisor[] = []
const sockets: ListeningSocket[] = []

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'berth-sv-'))
  recordFile = join(folder, 'processes.json')
})

afterEach(async () => {
  for (const supervisor of supervisors.splice(0)) await supervisor.stop()
  for (const socket of sockets.splice(0)) socket.close()
  await stopLeftovers(recordFile)
  await rm(folder, { recursive: true, force: true })
})

/** A stand-in: touches `<name>.<pid>` when it is ready, and then does what `body` says. */
async function standIn(name: string, body = '', extra: Partial<ProcessSpec> = {}): Promise<ProcessSpec> {
  const script = join(folder, `${name}.js`)
  const beat = `require('node:fs').writeFileSync('${folder}/${name}.' + process.pid, '')`
  await writeFile(script, `console.log('begins'); ${body}; ${beat}; setInterval(() => {}, 1000)`)
  return {
    name,
    command: [process.execPath, script],
    env: { PATH: process.env['PATH'] },
    cwd: folder,
    checkReady: async (pid) => {
      await readFile(join(folder, `${name}.${pid}`))
    },
    stopSignal: 'SIGTERM',
    stopGraceMs: 1000,
    ...extra,
  }
}

function supervise(plan: Partial<StartPlan>, said: string[] = []): Supervisor {
  const prepare = () => Promise.resolve({ stores: [], migrate: undefined, apps: [], ...plan })
  return prepared(prepare, said)
}

function prepared(prepare: () => Promise<StartPlan>, said: string[] = []): Supervisor {
  const record = new ProcessRecord(recordFile, (problem) => said.push(problem))
  const options = { installation: 'test', ports: {}, logs: folder, prepare }
  const supervisor = new Supervisor(options, record, (message) => said.push(message))
  supervisors.push(supervisor)
  return supervisor
}

const stateOf = (supervisor: Supervisor, name: string) => {
  const found = supervisor.status().processes.find((each) => each.name === name)
  if (found === undefined) throw new Error(`no process ${name}`)
  return found
}

test('stores are ready before the migration runs, and apps start after it', async () => {
  const order = join(folder, 'order')
  const write = (word: string) => `require('node:fs').appendFileSync('${order}', '${word} ')`
  const migrate = join(folder, 'migrate.js')
  await writeFile(migrate, write('migrate'))
  const supervisor = supervise({
    stores: [await standIn('postgres', write('postgres'))],
    migrate: { command: [process.execPath, migrate], env: {} },
    apps: [await standIn('api', write('api'))],
  })
  await supervisor.start()
  expect(supervisor.status().phase).toBe('ready')
  expect(await readFile(order, 'utf8')).toBe('postgres migrate api ')
})

test('a migration that fails ends the start and blames its log', async () => {
  const migrate = join(folder, 'migrate.js')
  await writeFile(migrate, 'console.error("no such table"); process.exit(3)')
  const supervisor = supervise({ migrate: { command: [process.execPath, migrate], env: {} } })
  await supervisor.start()
  expect(supervisor.status()).toMatchObject({
    phase: 'failed',
    blamed: 'migrate',
    problem: 'the database could not be migrated (exit code 3)',
  })
  expect(await readFile(join(folder, 'migrate.log'), 'utf8')).toContain('no such table')
})

test('a preparation that fails is the problem of the start, and nobody is blamed for it', async () => {
  const supervisor = prepared(() => Promise.reject(new Error('Port 8080 of ::1 is taken.')))
  await supervisor.start()
  expect(supervisor.status()).toMatchObject({
    phase: 'failed',
    problem: 'Port 8080 of ::1 is taken.',
    blamed: null,
    processes: [],
  })
})

test('a start that is stopped halfway starts nothing more', async () => {
  const migrate = join(folder, 'migrate.js')
  const told = `require('node:fs').writeFileSync('${folder}/migrating', '')`
  // It ends well when it is asked to, so nothing but the stop keeps the apps from being started.
  await writeFile(
    migrate,
    `process.on('SIGTERM', () => process.exit(0)); ${told}; setTimeout(() => {}, 60_000)`,
  )
  const api = await standIn('api')
  const supervisor = supervise({
    stores: [await standIn('postgres')],
    migrate: { command: [process.execPath, migrate], env: {} },
    apps: [api],
  })
  const start = supervisor.start()
  await until(() => readFile(join(folder, 'migrating')))
  await supervisor.stop()
  await start
  expect(supervisor.status().phase).toBe('stopping')
  expect(supervisor.status().processes.map(({ state }) => state)).toEqual(['stopped', 'stopped'])
  expect(readRecord(recordFile)).toEqual([])
  await expect(readFile(join(folder, 'api.log'))).rejects.toThrow('ENOENT')
})

test('a full disk ends nothing: what dies is started again, and the problem is told once', async () => {
  const said: string[] = []
  const supervisor = supervise({ apps: [await standIn('worker')] }, said)
  await supervisor.start()
  await symlink('/dev/full', `${recordFile}.new`)
  for (let death = 0; death < 2; death += 1) {
    const before = stateOf(supervisor, 'worker').pid ?? 0
    process.kill(before, 'SIGKILL')
    await until(() => {
      const { state, pid } = stateOf(supervisor, 'worker')
      return state === 'ready' && pid !== before
    })
  }
  expect(said.filter((line) => line.includes('ENOSPC'))).toHaveLength(1)
})

test('a process that dies is started again, and says why it had ended', async () => {
  const supervisor = supervise({ apps: [await standIn('worker')] })
  await supervisor.start()
  const before = stateOf(supervisor, 'worker').pid ?? 0
  process.kill(before, 'SIGKILL')
  const after = await until(() => {
    const found = stateOf(supervisor, 'worker')
    return found.state === 'ready' && found.pid !== before && found
  })
  expect(after.restarts).toBe(1)
  expect(await readFile(join(folder, 'worker.log'), 'utf8')).toBe('begins\nbegins\n')
})

test('a process that keeps on ending fails the start with its reason', async () => {
  const supervisor = supervise({ apps: [await standIn('api', 'process.exit(7)')] })
  await supervisor.start()
  expect(supervisor.status()).toMatchObject({ phase: 'failed', blamed: 'api' })
  expect(supervisor.status().problem).toMatch(/^api ended \d+ times: ended with exit code 7/)
})

test('stopping ends everything, also what ignores the signal, and forgets it', async () => {
  const supervisor = supervise({
    stores: [await standIn('redis')],
    apps: [await standIn('api', "process.on('SIGTERM', () => {})")],
  })
  await supervisor.start()
  const pids = supervisor.status().processes.map(({ pid }) => pid ?? 0)
  await supervisor.stop()
  for (const pid of pids) expect(identify(pid)).toBeUndefined()
  expect(readRecord(recordFile)).toEqual([])
})

test('what a killed supervisor left is found by its record and ended', async () => {
  const left = supervise({ apps: [await standIn('api'), await standIn('worker')] })
  await left.start()
  const found = readRecord(recordFile)
  expect(found.map(({ name }) => name).sort()).toEqual(['api', 'worker'])
  // As a killed supervisor would not: the dead ones must not be started again by this process.
  supervisors.splice(0)
  const ended = stopLeftovers(recordFile)
  await left.stop()
  expect(await ended).toEqual(['api', 'worker'])
  for (const identity of found) expect(isAlive(identity)).toBe(false)
})

test('a paused process stays away until it is resumed', async () => {
  const supervisor = supervise({ stores: [await standIn('redis')], apps: [await standIn('api')] })
  await supervisor.start()
  const before = stateOf(supervisor, 'redis').pid
  await supervisor.pause('redis')
  expect(stateOf(supervisor, 'redis')).toMatchObject({ state: 'stopped', pid: null })
  expect(stateOf(supervisor, 'api').state).toBe('ready')
  await supervisor.resume('redis')
  const after = stateOf(supervisor, 'redis')
  expect(after.state).toBe('ready')
  expect(after.pid).not.toBe(before)
})

test('an unknown process cannot be restarted, and the message names those there are', async () => {
  const supervisor = supervise({ apps: [await standIn('api')] })
  await supervisor.start()
  await expect(supervisor.restart('apu')).rejects.toThrow('There is no process "apu"; there are api.')
})

test('a handover under load answers every request', async () => {
  const port = await freePort()
  const socket = bindSocket('127.0.0.1', port)
  if (socket === undefined) throw new Error('127.0.0.1 is not there')
  sockets.push(socket)
  // Closes only the listener when asked to stop; what is in flight is answered.
  const serve = `
    const net = require('node:net')
    const server = require('node:http').createServer((request, response) => {
      setTimeout(() => response.writeHead(200, { connection: 'close' }).end(String(process.pid)), 20)
    })
    server.listen({ fd: 3 })
    process.on('SIGTERM', () => {
      net.Server.prototype.close.call(server)
      setTimeout(() => process.exit(0), 500)
    })`
  const spec = { descriptors: [socket.descriptor], handover: true, drainGraceMs: 10_000 }
  const supervisor = supervise({ apps: [await standIn('router', serve, spec)] })
  await supervisor.start()
  const before = stateOf(supervisor, 'router').pid
  const load = { goes: true }
  const answers: string[] = []
  const loaders = Promise.all(
    Array.from({ length: 8 }, async () => {
      while (load.goes) answers.push((await callHttp({ target: { port }, path: '/' })).body)
    }),
  )
  await until(() => answers.length > 50)
  await supervisor.restart('router')
  const after = stateOf(supervisor, 'router').pid
  await until(() => answers.filter((pid) => pid === String(after)).length > 50)
  load.goes = false
  await loaders
  expect(after).not.toBe(before)
  expect(new Set(answers)).toEqual(new Set([String(before), String(after)]))
})

test('connections wait while the process behind a socket is away', async () => {
  const port = await freePort()
  const socket = bindSocket('127.0.0.1', port)
  if (socket === undefined) throw new Error('127.0.0.1 is not there')
  sockets.push(socket)
  const serve = `require('node:http').createServer((q, s) => s.end('served')).listen({ fd: 3 })`
  const supervisor = supervise({
    apps: [await standIn('router', serve, { descriptors: [socket.descriptor] })],
  })
  await supervisor.start()
  expect((await callHttp({ target: { port }, path: '/' })).body).toBe('served')
  process.kill(stateOf(supervisor, 'router').pid ?? 0, 'SIGKILL')
  await until(() => stateOf(supervisor, 'router').state === 'backing-off', { intervalMs: 1 })
  const waiting = callHttp({ target: { port }, path: '/', timeoutMs: 30_000 })
  expect((await waiting).body).toBe('served')
})

test('a port that is taken is a Failure', async () => {
  const port = await freePort()
  const first = bindSocket('127.0.0.1', port)
  if (first === undefined) throw new Error('127.0.0.1 is not there')
  sockets.push(first)
  const serve = `require('node:http').createServer().listen({ fd: 3 })`
  const supervisor = supervise({
    apps: [await standIn('router', serve, { descriptors: [first.descriptor] })],
  })
  await supervisor.start()
  expect(() => bindSocket('127.0.0.1', port)).toThrow(`Port ${port} of 127.0.0.1 is taken.`)
})

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  return typeof address === 'object' && address !== null ? address.port : 0
}
