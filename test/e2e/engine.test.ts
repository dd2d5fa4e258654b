import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { get } from 'node:http'
import { type AddressInfo, createServer } from 'node:net'
import {
  type AppSpec,
  type ContainerRuntime,
  connectEngine,
  ensureSandboxImage,
  type EngineInfo,
  isEngineError,
  listensBeyondLoopback,
  localImageName,
  parseEndpoint,
  streamImageTar,
} from '@berth/engine'
import { type FakeRegistry, heldFence, startFakeRegistry } from '@berth/engine/testing'
import { pack } from 'tar-stream'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

/*
 * The port against a real Docker Engine. Everything made here carries an installation id of its own and is taken
 * away by it afterwards.
 */

const endpoint = process.env.BERTH_TEST_ENGINE ?? 'unix:///var/run/docker.sock'
const busybox = readFileSync(process.env.BERTH_TEST_BUSYBOX ?? '/bin/busybox')
const installation = `e2e${randomBytes(4).toString('hex')}`
const labels = { 'berth.installation': installation }
const network = `berth-${installation}`
const patient = { timeout: 30_000, interval: 50 }

let runtime: ContainerRuntime
let registry: FakeRegistry
let node: EngineInfo
let sandboxImage: string
let rootImage: string
let made = 0

beforeAll(async () => {
  runtime = connectEngine(parseEndpoint(endpoint))
  registry = await startFakeRegistry()
  node = await runtime.info()
  sandboxImage = await ensureSandboxImage(runtime, busybox, heldFence)
  rootImage = await runtime.buildFromTar({ tar: await busyboxContext(), tag: `${network}:root` }, heldFence)
  await makeNetwork()
})

afterAll(async () => {
  for (const container of await runtime.list({ installation })) await runtime.remove(container.id, heldFence)
  await runtime.removeNetwork(network, heldFence)
  await runtime.removeImage(`${network}:root`, heldFence)
  expect(await runtime.list({ installation })).toEqual([])
  expect(await runtime.listNetworks(installation)).toEqual([])
  runtime.close()
  await registry.stop()
})

/** On a subnet that nothing else on this engine has. */
async function makeNetwork(): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    const subnet = `198.19.${randomBytes(1).readUInt8()}.0/24`
    try {
      await runtime.ensureNetwork({ name: network, subnet, labels }, heldFence)
      return
    } catch (error) {
      if (!isEngineError(error, 'Conflict') || attempt === 20) throw error
    }
  }
}

async function tarOf(files: Record<string, Buffer | string>): Promise<Buffer> {
  const tar = pack()
  for (const [name, content] of Object.entries(files))
    tar.entry({ name, mode: 0o755, mtime: new Date(0) }, content)
  tar.finalize()
  const chunks: Buffer[] = []
  for await (const chunk of tar as AsyncIterable<Buffer>) chunks.push(chunk)
  return Buffer.concat(chunks)
}

async function busyboxContext(): Promise<Buffer> {
  const dockerfile = 'FROM scratch\nCOPY busybox /bin/busybox\nEXPOSE 8080\nCMD ["/bin/busybox", "true"]\n'
  return await tarOf({ Dockerfile: dockerfile, busybox })
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

type Replica = { sandboxId: string; appId: string; port: number }

/** Starts a sandbox and an app that runs `script` in busybox' shell. */
async function startReplica(script: string, change: Partial<AppSpec> = {}): Promise<Replica> {
  const name = `berth-${installation}-${(made += 1)}`
  const port = await freePort()
  const sandboxId = await runtime.createSandbox(
    {
      name: `${name}-sandbox`,
      network,
      hostAddress: '127.0.0.1',
      hostPort: port,
      containerPort: 8080,
      image: sandboxImage,
      labels,
    },
    heldFence,
  )
  await runtime.startContainer(sandboxId, heldFence)
  const appId = await runtime.createApp(
    {
      name: `${name}-app`,
      sandboxId,
      image: rootImage,
      command: ['/bin/busybox', 'sh', '-c'],
      args: [script],
      env: { GREETING: 'hello from inside' },
      memoryBytes: 64 * 1024 ** 2,
      cpuMillis: 500,
      labels,
      ...change,
    },
    heldFence,
  )
  await runtime.startContainer(appId, heldFence)
  return { sandboxId, appId, port }
}

const serve = 'echo "$GREETING"; echo aside >&2; exec /bin/busybox httpd -f -p 8080 -h /'

async function listening(replica: Replica): Promise<void> {
  const listens = async () => listensBeyondLoopback(await runtime.readListeners(replica.sandboxId), 8080)
  await expect.poll(listens, patient).toBe(true)
}

/** The status of a GET; httpd has nothing to give but answers. */
async function statusOf(port: number): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>()
  get({ host: '127.0.0.1', port, path: '/', agent: false }, (response) => {
    response.resume()
    resolve(response.statusCode ?? 0)
  }).on('error', reject)
  return await promise
}

async function logOf(id: string): Promise<string[]> {
  const lines: string[] = []
  for await (const { stream, line } of runtime.logs(id)) lines.push(`${stream}: ${line}`)
  return lines
}

async function ended(id: string) {
  await expect.poll(async () => (await runtime.inspect(id))?.state, patient).toBe('exited')
  return await runtime.inspect(id)
}

describe('a real engine', () => {
  test('says who it is', () => {
    expect(node.cpus).toBeGreaterThan(0)
    expect(['amd64', 'arm64']).toContain(node.architecture)
  })

  test('runs a replica through its whole life', async () => {
    const replica = await startReplica(serve)
    await listening(replica)
    expect(await statusOf(replica.port)).toBe(404)
    expect(await runtime.networkAddressOf(replica.sandboxId)).toMatch(/^198\.19\./)

    await runtime.pause(replica.appId, heldFence)
    await runtime.pause(replica.appId, heldFence)
    expect((await runtime.inspect(replica.appId))?.state).toBe('paused')
    const held = statusOf(replica.port)
    await runtime.unpause(replica.appId, heldFence)
    await runtime.unpause(replica.appId, heldFence)
    expect(await held).toBe(404)
    expect((await runtime.usage(replica.appId)).memoryBytes).toBeGreaterThan(0)

    await runtime.stop(replica.appId, 10, heldFence)
    await runtime.stop(replica.appId, 10, heldFence)
    expect(await runtime.inspect(replica.appId)).toMatchObject({ state: 'exited', oomKilled: false })
    expect(await logOf(replica.appId)).toEqual(
      expect.arrayContaining(['stdout: hello from inside', 'stderr: aside']),
    )
    expect(await runtime.readListeners(replica.sandboxId)).not.toContainEqual(
      expect.objectContaining({ port: 8080 }),
    )

    await runtime.startContainer(replica.appId, heldFence)
    await listening(replica)
    await runtime.remove(replica.appId, heldFence)
    await runtime.remove(replica.sandboxId, heldFence)
    await runtime.remove(replica.sandboxId, heldFence)
    expect(await runtime.inspect(replica.sandboxId)).toBeNull()
  })

  test('keeps a frozen app frozen until it is stopped', async () => {
    const replica = await startReplica(serve)
    await runtime.pause(replica.appId, heldFence)
    await runtime.stop(replica.appId, 5, heldFence)
    expect((await runtime.inspect(replica.appId))?.state).toBe('exited')
  })

  test('kills an app that ignores SIGTERM after its grace', async () => {
    const replica = await startReplica("trap '' TERM; echo deaf; while true; do /bin/busybox sleep 1; done")
    await expect.poll(() => logOf(replica.appId), patient).toContain('stdout: deaf')
    await runtime.stop(replica.appId, 1, heldFence)
    expect(await runtime.inspect(replica.appId)).toMatchObject({ state: 'exited', exitCode: 137 })
  })

  test('tells that an app ran out of memory', async () => {
    const replica = await startReplica('exec /bin/busybox tail /dev/zero', { memoryBytes: 16 * 1024 ** 2 })
    expect(await ended(replica.appId)).toMatchObject({ exitCode: 137, oomKilled: true })
  })

  test('tells the exit code of an app that crashes', async () => {
    const replica = await startReplica('echo bye; exit 3')
    expect(await ended(replica.appId)).toMatchObject({ exitCode: 3 })
    expect(await logOf(replica.appId)).toEqual(['stdout: bye'])
  })

  test('follows a log until the app ends', async () => {
    const replica = await startReplica('for i in 1 2 3; do echo $i; /bin/busybox sleep 0.2; done')
    const lines: string[] = []
    for await (const { line } of runtime.logs(replica.appId, { follow: true })) lines.push(line)
    expect(lines).toEqual(['1', '2', '3'])
  })

  test.each([
    ['root', () => rootImage, '00000000000004eb'],
    ['nobody', () => sandboxImage, '0000000000000000'],
  ])('gives an app that runs as %s the least it needs', async (_, image, capabilities) => {
    const replica = await startReplica('/bin/busybox cat /proc/self/status', { image: image() })
    await ended(replica.appId)
    const lines = await logOf(replica.appId)
    for (const wanted of [`CapBnd:\t${capabilities}`, 'NoNewPrivs:\t1', 'Seccomp:\t2'])
      expect(lines).toContain(`stdout: ${wanted}`)
  })

  test('refuses to start an app whose sandbox is dead, and one whose port is taken', async () => {
    const replica = await startReplica('exit 0')
    await ended(replica.appId)
    await runtime.stop(replica.sandboxId, 1, heldFence)
    await expect(runtime.startContainer(replica.appId, heldFence)).rejects.toMatchObject({
      code: 'SandboxDead',
    })

    const port = await freePort()
    const spec = {
      network,
      hostAddress: '127.0.0.1',
      hostPort: port,
      containerPort: 8080,
      image: sandboxImage,
      labels,
    }
    const [first, second] = await Promise.all(
      ['first', 'second'].map((name) =>
        runtime.createSandbox({ ...spec, name: `${network}-${name}` }, heldFence),
      ),
    )
    await runtime.startContainer(String(first), heldFence)
    await expect(runtime.startContainer(String(second), heldFence)).rejects.toMatchObject({
      code: 'PortTaken',
    })
  })

  test('adopts a container that is what was asked for and refuses one that is not', async () => {
    const spec = {
      name: `${network}-adopted`,
      network,
      hostAddress: '127.0.0.1',
      hostPort: await freePort(),
      containerPort: 8080,
      image: sandboxImage,
      labels,
    }
    const id = await runtime.createSandbox(spec, heldFence)
    expect(await runtime.createSandbox(spec, heldFence)).toBe(id)
    await expect(runtime.createSandbox({ ...spec, containerPort: 81 }, heldFence)).rejects.toMatchObject({
      differences: ['ports'],
    })
  })

  test('tells where a path in a container that was never started becomes a symbolic link', async () => {
    const name = `berth-${installation}-links-sandbox`
    const spec = { name, network: 'none', hostAddress: '127.0.0.1', hostPort: 0, containerPort: 1 }
    const id = await runtime.createSandbox({ ...spec, image: sandboxImage, labels }, heldFence)
    // The engine gives every container this one.
    const mtab = { path: '/etc/mtab', target: '/proc/mounts' }
    expect(await runtime.linkedPath(id, '/etc/mtab')).toEqual(mtab)
    expect(await runtime.linkedPath(id, '/etc/mtab/data')).toEqual(mtab)
    expect(await runtime.linkedPath(id, '/etc/hostname')).toBeUndefined()
    expect(await runtime.linkedPath(id, '/nowhere/data')).toBeUndefined()
    await runtime.remove(id, heldFence)
  })

  test('tells from inside a sandbox without a network how full its disk is', async () => {
    const name = `berth-${installation}-disk-sandbox`
    const spec = { name, network: 'none', hostAddress: '127.0.0.1', hostPort: 0, containerPort: 1 }
    const id = await runtime.createSandbox({ ...spec, image: sandboxImage, labels }, heldFence)
    await runtime.startContainer(id, heldFence)
    const { totalBytes, freeBytes } = await runtime.readDisk(id)
    await runtime.remove(id, heldFence)
    expect(totalBytes).toBeGreaterThan(1024 ** 3)
    expect(freeBytes).toBeGreaterThan(0)
    expect(freeBytes).toBeLessThan(totalBytes)
  })

  test('tells what happened', async () => {
    const stop = new AbortController()
    const since = Date.now()
    const replica = await startReplica('exit 0')
    for await (const event of runtime.events(since - 1000, stop.signal))
      if (event.id === replica.appId && event.action === 'die') stop.abort()
  })
})

describe('images on a real engine', () => {
  async function pushed(repository: string, architecture: string): Promise<string> {
    return registry.addImage({
      repository,
      tag: '1',
      architecture,
      layers: [await tarOf({ [repository]: repository })],
    })
  }

  /** Asks for the digest through a registry that the engine may or may not reach. */
  function request(repository: string, digest: string, registryAddress = registry.address) {
    return { registryAddress, repository, digest, architecture: node.architecture }
  }

  test('fail to be pulled with the reason', async () => {
    const digest = `sha256:${'0'.repeat(64)}`
    await expect(runtime.pull(request('a', digest, '127.0.0.1:1'), heldFence)).rejects.toMatchObject({
      code: 'RegistryUnreachable',
    })
    await expect(runtime.pull(request('a', digest), heldFence)).rejects.toMatchObject({
      code: 'ImageNotFound',
    })
  })

  test('are pulled by digest under a name of their own', async () => {
    const digest = await pushed(`${installation}/pulled`, node.architecture)
    const image = await runtime.pull(request(`${installation}/pulled`, digest), heldFence)
    expect(image).toMatchObject({ user: '1000', exposedPorts: [8080] })
    const name = localImageName(`${installation}/pulled`, digest)
    expect((await runtime.inspectImage(name))?.id).toBe(image.id)
    expect(await runtime.listImages()).toContainEqual({
      id: image.id,
      tags: [name],
      digests: [`${registry.address}/${installation}/pulled@${digest}`],
    })
    await runtime.removeImage(`${registry.address}/${installation}/pulled@${digest}`, heldFence)
    await runtime.removeImage(name, heldFence)
    expect(await runtime.inspectImage(image.id)).toBeNull()
  })

  test('of several architectures are pulled and fed by the digest of their index', async () => {
    const repository = `${installation}/index`
    const [own, foreign] = [await pushed(repository, node.architecture), await pushed(repository, 's390x')]
    const digest = registry.addIndex(repository, 'all', [
      { digest: foreign, architecture: 's390x' },
      { digest: own, architecture: node.architecture },
    ])
    const pulled = await runtime.pull(request(repository, digest), heldFence)
    expect(pulled.architecture).toBe(node.architecture)
    await runtime.removeImage(`${registry.address}/${repository}@${digest}`, heldFence)
    await runtime.removeImage(localImageName(repository, digest), heldFence)

    const access = { platformRegistry: registry.address, allowedHosts: [], credentials: () => undefined }
    const image = { registry: registry.address, repository, digest }
    await runtime.loadImage(streamImageTar(image, node.architecture, access), heldFence)
    const fed = await runtime.inspectImage(localImageName(repository, digest))
    expect(fed?.id).toBe(pulled.id)
    await runtime.removeImage(localImageName(repository, digest), heldFence)
  })

  test('for another processor are refused', async () => {
    const digest = await pushed(`${installation}/foreign`, 's390x')
    const pull = runtime.pull(request(`${installation}/foreign`, digest), heldFence)
    await expect(pull).rejects.toMatchObject({ code: 'ArchitectureMismatch' })
  })

  test('are fed to a node that cannot reach the registry', async () => {
    const repository = `${installation}/fed`
    const digest = await pushed(repository, node.architecture)
    const access = { platformRegistry: registry.address, allowedHosts: [], credentials: () => undefined }
    const image = { registry: registry.address, repository, digest }
    const tar = streamImageTar(image, node.architecture, access)
    expect(await runtime.loadImage(tar, heldFence)).toEqual([localImageName(repository, digest)])
    // From here on it is there, and nothing is asked of the registry.
    expect(await runtime.pull(request(repository, digest, '127.0.0.1:1'), heldFence)).toMatchObject({
      user: '1000',
    })
    await runtime.removeImage(localImageName(repository, digest), heldFence)
  })

  test('that do not arrive whole are not loaded', async () => {
    const repository = `${installation}/broken`
    const digest = await pushed(repository, node.architecture)
    registry.intercept(/blobs/, (_, response) => response.writeHead(500).end())
    const access = { platformRegistry: registry.address, allowedHosts: [], credentials: () => undefined }
    const image = { registry: registry.address, repository, digest }
    const loading = runtime.loadImage(streamImageTar(image, node.architecture, access), heldFence)
    await expect(loading).rejects.toMatchObject({ code: 'RegistryUnreachable' })
    expect(await runtime.inspectImage(localImageName(repository, digest))).toBeNull()
  })
})

// For another processor there is no program that could hold it.
describe.runIf(process.arch === 'x64')('a held app', () => {
  const tag = `${network}:held`
  const odd = [
    'FROM scratch',
    'COPY busybox /bin/busybox',
    'COPY busybox /bin/sh',
    'COPY script /bin/script',
    'ENV PATH=/nowhere:/bin my.odd-name="a  b" SHLVL=7 EMPTY=',
    'WORKDIR /work',
    'USER 1234:2345',
    // What an app ignores that does not know it.
    'STOPSIGNAL SIGWINCH',
    'ENTRYPOINT ["busybox", "sh"]',
  ].join('\n')
  let image: string
  beforeAll(async () => {
    const tar = await tarOf({ Dockerfile: odd, busybox, script: 'echo "$0" "$@"\n' })
    image = await runtime.buildFromTar({ tar, tag }, heldFence)
  })
  afterAll(async () => {
    for (const container of await runtime.list({ installation }))
      if (container.image === image) await runtime.remove(container.id, heldFence)
    await runtime.removeImage(tag, heldFence)
  })

  const ofImage = (args: string[]): Partial<AppSpec> => ({ image, command: [], args })

  /** The app of a replica anew, held this time. */
  async function heldAgain(replica: Replica, change: Partial<AppSpec>): Promise<string> {
    const name = `berth-${installation}-${(made += 1)}-held`
    const env = { GREETING: 'hello from inside' }
    const limits = { memoryBytes: 64 * 1024 ** 2, cpuMillis: 500 }
    const spec = { name, sandboxId: replica.sandboxId, image, command: [], args: [], env, ...limits, labels }
    const id = await runtime.createApp({ ...spec, ...change, held: true }, heldFence)
    await runtime.startContainer(id, heldFence)
    await expect.poll(() => runtime.isHeld(replica.sandboxId), patient).toBe(true)
    return id
  }

  test('is in nothing another than one that was started, but for its number', async () => {
    const tell = [
      'busybox tr "\\0" "\\n" < /proc/$$/environ',
      'busybox tr "\\0" " " < /proc/$$/cmdline',
      'busybox grep -vE "^(Tgid|Pid|NS.*|Vm.*|Rss.*|State|.*ctxt.*|SigQ):?" /proc/$$/status',
      'busybox cat /proc/$$/limits',
      'busybox readlink /proc/$$/cwd',
      'busybox readlink /proc/$$/exe',
      'busybox ls /proc/$$/fd',
      'busybox wc -l < /proc/$$/mountinfo',
      'busybox id',
      'echo "$PWD" "$@"',
    ].join('; ')
    const args = ['-c', tell, 'name', '', 'two  words', '$HOME']
    const replica = await startReplica('', ofImage(args))
    await ended(replica.appId)
    const told = await logOf(replica.appId)
    expect(told).toEqual(expect.arrayContaining(['stdout: my.odd-name=a  b', 'stdout: SHLVL=7']))
    expect(told.length).toBeGreaterThan(60)

    const id = await heldAgain(replica, { args })
    expect(await logOf(id)).toEqual([])
    await runtime.release(id, heldFence)
    await ended(id)
    expect(await runtime.isHeld(replica.sandboxId)).toBe(false)
    expect(await logOf(id)).toEqual(told)
  })

  test('listens once it is released, and gets its signals', async () => {
    const replica = await startReplica('true')
    const id = await heldAgain(replica, {
      image: rootImage,
      command: ['/bin/busybox', 'sh', '-c'],
      args: [serve],
    })
    await runtime.release(id, heldFence)
    await listening(replica)
    await runtime.stop(id, 10, heldFence)
    expect(await runtime.inspect(id)).toMatchObject({ state: 'exited', exitCode: 143 })
  })

  test('is not lost when it is released at once', async () => {
    const replica = await startReplica('true')
    for (let times = 0; times < 5; times += 1) {
      const id = await heldAgain(replica, { args: ['-c', 'echo done'] })
      await runtime.release(id, heldFence)
      expect(await ended(id)).toMatchObject({ exitCode: 0 })
    }
  })

  test('ends at once with the signal of its image, and is started again like any other', async () => {
    const replica = await startReplica('true')
    const id = await heldAgain(replica, { args: ['-c', 'echo up; exec busybox sleep 1000'] })
    await runtime.stop(id, 10, heldFence)
    expect(await runtime.inspect(id)).toMatchObject({ state: 'exited', exitCode: 128 + 28, holds: true })
    expect(isEngineError(await runtime.release(id, heldFence).catch((error: unknown) => error))).toBe(true)
    await runtime.setHold(id, 'passing', heldFence)
    await runtime.startContainer(id, heldFence)
    await expect.poll(() => logOf(id), patient).toEqual(['stdout: up'])
    await runtime.kill(id, heldFence)
  })

  test.each([
    ['a script without an interpreter', ['script', 'a', ''], 0, ['stdout: /bin/script a ']],
    ['a command that is not there', ['missing'], 127, []],
    ['a folder', ['/bin'], 126, []],
  ])('becomes %s as a start does', async (_what, command, exitCode, log) => {
    const replica = await startReplica('true')
    const id = await heldAgain(replica, { command })
    await runtime.release(id, heldFence)
    expect(await ended(id)).toMatchObject({ exitCode })
    expect(await logOf(id)).toEqual(log)
  })
})
