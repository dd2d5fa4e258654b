import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { connectPlatform, pushTestImage } from '../support/platform.ts'
import { until } from '../support/poll.ts'

/*
 * The numbered statements of the Knative and Cloud Run container contracts, as docs/conformance.md lists them.
 */

const platform = connectPlatform(inject('platform'))
const { ports, testImage } = platform.connection
const service = 'cnf-contract'
const moved = 'cnf-moved'
const memoryMi = 128

beforeAll(async () => {
  await Promise.all([
    platform.deploy(service, {
      port: 3000,
      cpu: 0.5,
      memory: `${memoryMi}Mi`,
      args: ['one', 'two words; $HOME'],
    }),
    deployMoved(),
  ])
})
afterAll(() => Promise.all([service, moved].map((name) => platform.remove(name))))

async function deployMoved(): Promise<void> {
  const image = await pushTestImage(ports.registry, moved, '1')
  await platform.deploy(moved, { image, minScale: 1 })
}

/** What a path of the test app answers, as JSON. */
async function ask<Body>(path: string): Promise<Body> {
  return (await platform.request(service, { path })).json<Body>()
}

type About = { kind: string; mode: string; target?: string } | null
const pathIn = (path: string) => ask<About>(`/path?path=${path}`)
const textOf = async (path: string) => (await ask<{ text?: string }>(`/read?path=${path}`)).text

/** The options with which the app sees something mounted. */
async function mountOptions(at: string): Promise<string[]> {
  const mounts = (await textOf('/proc/mounts')) ?? ''
  const fields = mounts.split('\n').map((line) => line.split(' '))
  return fields.findLast(([, place]) => place === at)?.[3]?.split(',') ?? []
}

describe('the environment', () => {
  test('PORT is the port of the service, and K_SERVICE, K_REVISION and K_CONFIGURATION name the objects (10, 11, 35)', async () => {
    expect(await ask('/env')).toMatchObject({
      PORT: '3000',
      K_SERVICE: service,
      K_REVISION: `${service}-00001`,
      K_CONFIGURATION: service,
    })
  })

  test.each(['PORT', 'K_SERVICE', 'K_REVISION'])('%s cannot be set by a user (10)', async (name) => {
    const body = { name: 'cnf-refused', image: testImage, env: { [name]: '1' } }
    expect(await platform.api('POST', '/services', body)).toMatchObject({
      status: 422,
      body: { errors: [{ path: `env.${name}` }] },
    })
  })
})

describe('the process', () => {
  test('args arrive word by word behind the entry point of the image, in its working directory (23)', async () => {
    expect(await ask('/container')).toMatchObject({
      arguments: ['one', 'two words; $HOME'],
      workingDirectory: '/app',
    })
  })

  test('runs as the USER of the image (22)', async () => {
    expect(await ask('/container')).toMatchObject({ user: 1000, group: 1000 })
  })

  test('reads the end of its standard input at once (5)', async () => {
    expect(await ask('/stdin')).toEqual({ length: 0 })
  })

  test('has no capability and can gain none (43)', async () => {
    const status = (await textOf('/proc/self/status')) ?? ''
    expect(status).toMatch(/^CapEff:\t0+$/m)
    expect(status).toMatch(/^NoNewPrivs:\t1$/m)
  })
})

describe('the file system', () => {
  test('/tmp can be written and read by everybody (18)', async () => {
    expect(await pathIn('/tmp')).toMatchObject({ kind: 'folder', mode: '1777' })
    expect(await ask('/write?path=/tmp/mine&text=kept')).toEqual({})
    expect(await textOf('/tmp/mine')).toBe('kept')
  })

  test.each(['full', 'null', 'ptmx', 'random', 'tty', 'urandom', 'zero'])(
    '/dev/%s is a device (19)',
    async (name) => {
      const about = await pathIn(`/dev/${name}`)
      const device = about?.kind === 'link' ? await pathIn(`/dev/${about.target}`) : about
      expect(device).toMatchObject({ kind: 'device' })
    },
  )

  test('/dev/fd, stdin, stdout and stderr lead to the open files of the process, and there is no console (19, 20)', async () => {
    const names = ['fd', 'stdin', 'stdout', 'stderr', 'console']
    const found = await Promise.all(names.map((name) => pathIn(`/dev/${name}`)))
    expect(found.map((about) => about?.target)).toEqual([
      '/proc/self/fd',
      '/proc/self/fd/0',
      '/proc/self/fd/1',
      '/proc/self/fd/2',
      undefined,
    ])
    expect(found[4]).toBeNull()
    expect(await pathIn('/proc/self/fd')).toMatchObject({ kind: 'folder' })
  })

  test('/proc/sys and the control groups are read-only (20, 21)', async () => {
    expect(await mountOptions('/proc/sys')).toContain('ro')
    const mounts = (await textOf('/proc/mounts')) ?? ''
    const groups = mounts.split('\n').filter((line) => / cgroup2? /.test(line))
    expect(groups.length).toBeGreaterThan(0)
    expect(groups.filter((line) => !/ ro,/.test(line))).toEqual([])
  })

  test('its limits of memory and CPU can be read in its control group (21)', async () => {
    const memory =
      (await textOf('/sys/fs/cgroup/memory.max')) ??
      (await textOf('/sys/fs/cgroup/memory/memory.limit_in_bytes'))
    expect(Number(memory)).toBe(memoryMi * 1024 * 1024)
    const cpu = (await textOf('/sys/fs/cgroup/cpu.max')) ?? (await cpuOfVersionOne())
    const [quota, period] = cpu.trim().split(' ').map(Number)
    expect((quota ?? 0) / (period ?? 1)).toBe(0.5)
  })

  test('/etc/resolv.conf names a server (17)', async () => {
    expect(await textOf('/etc/resolv.conf')).toMatch(/^nameserver \S+$/m)
  })
})

async function cpuOfVersionOne(): Promise<string> {
  const read = (name: string) => textOf(`/sys/fs/cgroup/cpu/cpu.${name}`)
  return `${await read('cfs_quota_us')} ${await read('cfs_period_us')}`
}

describe('what is not offered', () => {
  test.each([
    ['a second port (9)', 'ports', [8080, 8081]],
    ['a host port (9)', 'hostPort', 80],
    ['a hook (5)', 'lifecycle', { preStop: {} }],
    ['an open standard input (5)', 'stdin', true],
    ['a terminal (5)', 'tty', true],
    ['another user (22)', 'securityContext', { runAsUser: 0 }],
    ['more rights (25, 43)', 'privileged', true],
    ['a device (25)', 'devices', ['/dev/kvm']],
    ['a sysctl (25)', 'sysctls', { 'net.core.somaxconn': '1' }],
  ])('is refused by its name: %s', async (_what, field, value) => {
    const body = { name: 'cnf-refused', image: testImage, [field]: value }
    const answer = await platform.api('POST', '/services', body)
    expect(answer).toMatchObject({ status: 422, body: { errors: [{ path: field }] } })
  })
})

describe('an image tag that moves', () => {
  test('changes nothing of the revision, not even for replicas that start later (32)', async () => {
    // An image that no node here could run.
    const image = await pushTestImage(ports.registry, moved, '1', 's390x')
    await platform.expectApi([200, 202], 'PATCH', `/services/${moved}`, { minScale: 2 })
    const replicas = await until(
      async () => {
        const ready = (await platform.replicas(moved)).filter(({ state }) => state === 'ready')
        return ready.length === 2 && ready
      },
      { timeoutMs: 60_000, describe: 'a second replica to be ready' },
    )
    expect(replicas.map(({ revision }) => revision)).toEqual([`${moved}-00001`, `${moved}-00001`])
    expect(await platform.update(moved, { image })).toMatchObject({
      phase: 'failed',
      reason: 'ArchitectureMismatch',
    })
    expect((await platform.request(moved)).json()).toMatchObject({ revision: `${moved}-00001` })
  })
})
