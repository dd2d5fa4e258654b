import { readFileSync } from 'node:fs'
import { appendFile, chmod, mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type OwnMachine, type Ran, startOwnMachine } from '../../../test/support/own-machine.ts'
import { until } from '../../../test/support/poll.ts'

/* `ensureEngine` on machines of their own, where Docker is missing, away, broken, or a stand-in. */

const socket = '/var/run/docker.sock'
const programs = ['/usr/sbin/dockerd', '/usr/bin/dockerd', '/usr/local/bin/dockerd']
const stranger = 4711

let machine: OwnMachine

beforeEach(async () => {
  machine = await startOwnMachine()
  for (const program of programs) await rm(machine.path(program), { force: true })
  await mkdir(machine.path('/logs'), { mode: 0o777 })
  await appendFile(machine.path('/etc/passwd'), `ada:x:${stranger}:${stranger}::/home/ada:/bin/sh\n`)
})

afterEach(() => machine.close())

const ask = `
  const { ensureEngine } = await import('${join(import.meta.dirname, 'local-engine.ts')}')
  await ensureEngine(process.argv[1], '/logs').then(
    (outcome) => console.log(outcome),
    (error) => console.log(error.name + ': ' + error.message))`

/** What `ensureEngine` says, for a user of that uid. */
async function ensured(options: { user?: number; at?: string } = {}): Promise<string> {
  const command = [process.execPath, '--input-type=module', '-e', ask, options.at ?? socket]
  const ran: Ran = await machine.run(command, options.user === undefined ? {} : { user: options.user })
  if (ran.code !== 0) throw new Error(ran.errors)
  return ran.output.trim()
}

/** A program that writes its pid and arguments down and answers on the socket with `status`. */
const listening = (status: number) => `
  require('node:fs').appendFileSync('/logs/starts', process.pid + process.argv.slice(2).join(' ') + '\\n')
  require('node:fs').rmSync('${socket}', { force: true })
  require('node:http').createServer((q, s) => { s.statusCode = ${status}; s.end('no luck') }).listen('${socket}')`

async function installDocker(body: string): Promise<void> {
  await writeFile(machine.path('/usr/sbin/dockerd'), `#!${process.execPath}\n${body}\n`)
  await chmod(machine.path('/usr/sbin/dockerd'), 0o755)
}

/** Runs it as if it had been started before Berth. */
async function startDocker(status = 200): Promise<void> {
  machine.begin([process.execPath, '-e', listening(status)])
  await until(() => machine.exists(socket))
}

const starts = () => readFileSync(machine.path('/logs/starts'), 'utf8').trim().split('\n')

describe('an engine that runs', () => {
  test('is never touched', async () => {
    await installDocker(listening(200))
    await startDocker()
    expect(await ensured()).toBe('ran')
    expect(starts()).toHaveLength(1)
  })

  test('and may not be used by this user says which group helps', async () => {
    await startDocker()
    await chmod(machine.path(socket), 0o660)
    expect(await ensured({ user: stranger })).toBe(
      `Failure: ada may not use Docker at ${socket}; run "sudo usermod -aG docker ada", log in again, and repeat.`,
    )
  })

  test('and is broken is quoted', async () => {
    await startDocker(500)
    expect(await ensured()).toBe(`Failure: Docker at ${socket} does not work: it answers 500 no luck.`)
  })
})

describe('an engine that does not run', () => {
  test('is started, detached, with no settings of ours', async () => {
    await installDocker(listening(200))
    expect(await ensured()).toBe('started')
    // It has outlived the command that started it.
    expect(starts()).toEqual([expect.stringMatching(/^\d+$/)])
    expect(await ensured()).toBe('ran')
  })

  test('is started where an earlier one has left its socket', async () => {
    await startDocker()
    const [pid] = starts()
    await machine.run(['kill', '-9', String(pid)])
    await installDocker(listening(200))
    expect(await ensured()).toBe('started')
  })

  test('is tried again when it ends at once, as it does on the pid file of one that was just killed', async () => {
    const once = `if (!require('node:fs').existsSync('/logs/tried')) {
      require('node:fs').writeFileSync('/logs/tried', '')
      process.exit(1)
    }`
    await installDocker(`${once}\n${listening(200)}`)
    expect(await ensured()).toBe('started')
  })

  test('is not started for anybody but root', async () => {
    await installDocker(listening(200))
    expect(await ensured({ user: stranger })).toBe(
      'Failure: Docker is not running; start it with "sudo systemctl start docker" and repeat ./berth up.',
    )
  })

  test('is not started at a place of somebody else', async () => {
    await installDocker(listening(200))
    expect(await ensured({ at: '/srv/other.sock' })).toBe(
      'Failure: No Docker Engine answers at /srv/other.sock; start it, or unset DOCKER_HOST.',
    )
  })

  test('and is not installed either is a matter of packages', async () => {
    expect(await ensured()).toBe('Failure: Docker is not installed; run ./berth packages.')
  })
})
