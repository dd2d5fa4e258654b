import { once } from 'node:events'
import { createServer, type Server } from 'node:net'
import { gunzipSync } from 'node:zlib'
import { extract } from 'tar-stream'
import { afterEach, describe, expect, test } from 'vitest'
import { localImageName } from '../local-image-name.ts'
import { type FakeRegistry, type FakeRegistryOptions, startFakeRegistry } from '../testing/index.ts'
import { parseReference } from './image-reference.ts'
import { streamImageTar } from './image-tar.ts'
import type { RegistryAccess } from './registry-access.ts'
import { readImageConfig, resolveDigest } from './resolve-digest.ts'

let registry: FakeRegistry
const others: Server[] = []

async function start(options: FakeRegistryOptions = {}): Promise<void> {
  registry = await startFakeRegistry(options)
}

function access(change: Partial<RegistryAccess> = {}): RegistryAccess {
  return { platformRegistry: registry.address, allowedHosts: [], credentials: () => undefined, ...change }
}

async function resolveAt(name: string, change: Partial<RegistryAccess> = {}) {
  return await resolveDigest(parseReference(`${registry.address}/${name}`), access(change))
}

async function failureOf(call: Promise<unknown>): Promise<unknown> {
  return await call.then(
    () => expect.unreachable('the call succeeded'),
    (error: unknown) => error,
  )
}

/** A port on loopback that counts who connects. */
async function listenSomewhere(): Promise<{ port: number; connections: () => number }> {
  let connections = 0
  const server = createServer((socket) => {
    connections += 1
    socket.destroy()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  others.push(server)
  return { port: (server.address() as { port: number }).port, connections: () => connections }
}

afterEach(async () => {
  await registry.stop()
  for (const server of others.splice(0)) server.close()
})

describe('resolving', () => {
  test('a tag gives the digest that the registry names', async () => {
    await start()
    const digest = registry.addImage({ repository: 'acme/hello', tag: '1' })
    expect(await resolveAt('acme/hello:1')).toEqual({
      registry: registry.address,
      repository: 'acme/hello',
      digest,
      architectures: ['amd64'],
    })
  })

  test('a name of the platform registry by localhost gives its one name', async () => {
    await start()
    registry.addImage({ repository: 'hello', tag: '1' })
    const reference = parseReference(`${registry.address.replace('127.0.0.1', 'localhost')}/hello:1`)
    expect((await resolveDigest(reference, access())).registry).toBe(registry.address)
  })

  test('works with a registry that names no digest', async () => {
    await start({ namesDigest: false })
    const digest = registry.addImage({ repository: 'hello', tag: 'latest' })
    expect((await resolveAt('hello')).digest).toBe(digest)
  })

  test('a digest wins over a tag', async () => {
    await start()
    const first = registry.addImage({ repository: 'hello', tag: '1', layers: [Buffer.from('first')] })
    registry.addImage({ repository: 'hello', tag: '1', layers: [Buffer.from('second')] })
    expect((await resolveAt(`hello:1@${first}`)).digest).toBe(first)
  })

  test('an index keeps its own digest and tells the architectures', async () => {
    await start()
    const amd64 = registry.addImage({ repository: 'hello', tag: 'a', architecture: 'amd64' })
    const arm64 = registry.addImage({ repository: 'hello', tag: 'b', architecture: 'arm64' })
    const index = registry.addIndex('hello', '1', [
      { digest: amd64, architecture: 'amd64' },
      { digest: arm64, architecture: 'arm64' },
    ])
    const resolved = await resolveAt('hello:1')
    expect(resolved).toMatchObject({ digest: index, architectures: ['amd64', 'arm64'] })
    expect(await readImageConfig(resolved, 'arm64', access())).toMatchObject({
      architecture: 'arm64',
      user: '1000',
      exposedPorts: [8080],
    })
    expect(await failureOf(readImageConfig(resolved, 's390x', access()))).toMatchObject({
      code: 'ArchitectureMismatch',
    })
  })

  test('what was never pushed is terminal', async () => {
    await start()
    expect(await failureOf(resolveAt('hello:1'))).toMatchObject({
      code: 'ImageNotFound',
      retryable: false,
      message: expect.stringContaining(`docker push ${registry.address}/hello:1`),
    })
  })

  test('a manifest whose bytes are not those of its digest is refused', async () => {
    await start()
    const digest = registry.addImage({ repository: 'hello', tag: '1' })
    const other = registry.addImage({ repository: 'hello', tag: '2', layers: [Buffer.from('other')] })
    registry.corrupt(digest, registry.bytesOf(other))
    expect(await failureOf(resolveAt('hello:1'))).toMatchObject({ code: 'ImageCorrupt' })
  })

  test('at a registry that is down may succeed later', async () => {
    await start()
    await registry.stop()
    expect(await failureOf(resolveAt('hello:1'))).toMatchObject({
      code: 'RegistryUnreachable',
      retryable: true,
    })
  })

  test('at a registry with trouble of its own may succeed later', async () => {
    await start()
    registry.intercept(/manifests/, (_, response) => response.writeHead(503).end())
    expect(await failureOf(resolveAt('hello:1'))).toMatchObject({
      code: 'RegistryUnreachable',
      retryable: true,
    })
  })

  test('an answer without end is cut off', async () => {
    await start()
    registry.addImage({ repository: 'hello', tag: '1' })
    registry.intercept(/^GET .*manifests/, (_, response) => response.end(Buffer.alloc(5 * 1024 * 1024, ' ')))
    const failure = await failureOf(resolveAt('hello:1'))
    expect(String(failure)).toMatch(/larger than 4194304 bytes/)
  })

  test('ends when nobody wants it any more', async () => {
    await start()
    const stop = new AbortController()
    registry.intercept(/manifests/, () => stop.abort())
    const reference = parseReference(`${registry.address}/hello:1`)
    expect(await failureOf(resolveDigest(reference, access(), stop.signal))).toMatchObject({
      code: 'Aborted',
    })
  })

  test('follows a redirect within the registry, and not for ever', async () => {
    await start()
    const digest = registry.addImage({ repository: 'hello', tag: '1' })
    const away = { location: `/v2/hello/manifests/${digest}` }
    registry.intercept(/GET .*manifests/, (_, response) => response.writeHead(307, away).end())
    expect((await resolveAt('hello:1')).digest).toBe(digest)
    for (let hop = 0; hop < 10; hop += 1)
      registry.intercept(/GET .*manifests/, (_, response) => response.writeHead(307, away).end())
    expect(await failureOf(resolveAt('hello:1'))).toMatchObject({ code: 'RegistryUnreachable' })
  })
})

describe.each(['basic', 'bearer'] as const)('a registry with a %s login', (login) => {
  test('lets the right login in', async () => {
    await start({ login })
    const digest = registry.addImage({ repository: 'hello', tag: '1' })
    const credentials = () => ({ username: 'admin', password: 'secret' })
    expect((await resolveAt('hello:1', { credentials })).digest).toBe(digest)
  })

  test.each([
    ['none', undefined],
    ['a wrong one', { username: 'admin', password: 'wrong' }],
  ])('with %s says that a login is needed', async (_, auth) => {
    await start({ login })
    registry.addImage({ repository: 'hello', tag: '1' })
    expect(await failureOf(resolveAt('hello:1', { credentials: () => auth }))).toMatchObject({
      code: 'RegistryAuthRequired',
      retryable: false,
    })
  })
})

describe('a login', () => {
  test('does not go along to another host', async () => {
    await start({ login: 'basic' })
    const storage = await startFakeRegistry()
    const digest = registry.addImage({ repository: 'hello', tag: '1' })
    const location = `http://${storage.address}/v2/hello/manifests/${digest}`
    const seen: (string | undefined)[] = []
    registry.intercept(/^HEAD/, (_, response) => {
      response.writeHead(401, { 'www-authenticate': 'Basic realm="fake"' }).end()
    })
    registry.intercept(/^HEAD/, (request, response) => {
      seen.push(request.headers.authorization)
      response.writeHead(307, { location }).end()
    })
    storage.intercept(/^HEAD/, (request, response) => {
      seen.push(request.headers.authorization)
      response.writeHead(200, { 'docker-content-digest': digest }).end()
    })
    const credentials = () => ({ username: 'admin', password: 'secret' })
    await resolveAt('hello:1', { credentials, allowedHosts: [storage.address] })
    expect(seen).toEqual([expect.stringMatching(/^Basic /), undefined])
    await storage.stop()
  })

  test('by identity token is exchanged for a token by POST', async () => {
    await start({ login: 'bearer' })
    const digest = registry.addImage({ repository: 'hello', tag: '1' })
    const asked = Promise.withResolvers<string>()
    registry.intercept(/^POST .token/, (request, response) => {
      request.setEncoding('utf8').once('data', (form: string) => {
        asked.resolve(form)
        response.end(JSON.stringify({ access_token: 'a-token' }))
      })
    })
    const resolved = await resolveAt('hello:1', { credentials: () => ({ identityToken: 'mine' }) })
    expect(resolved.digest).toBe(digest)
    expect(Object.fromEntries(new URLSearchParams(await asked.promise))).toMatchObject({
      grant_type: 'refresh_token',
      refresh_token: 'mine',
      scope: 'repository:hello:pull',
    })
  })
})

describe('hosts inside', () => {
  test.each([
    '127.0.0.1:PORT',
    'localhost:PORT',
    '[::1]:PORT',
    '127.1:PORT',
    '2130706433:PORT',
    '169.254.169.254',
    '10.0.0.1:5000',
    '[fd00::1]:5000',
    '[::ffff:127.0.0.1]:PORT',
    '0.0.0.0:PORT',
  ])('%s is refused without a connection', async (host) => {
    await start()
    const other = await listenSomewhere()
    const reference = { registry: host.replace('PORT', String(other.port)), repository: 'hello', tag: '1' }
    expect(await failureOf(resolveDigest(reference, access()))).toMatchObject({
      code: 'RegistryRefused',
      retryable: false,
    })
    expect(other.connections()).toBe(0)
  })

  test('give the same answer whether the port is open or closed', async () => {
    await start()
    const other = await listenSomewhere()
    const answers = await Promise.all(
      [other.port, 1].map((port) =>
        failureOf(resolveDigest({ registry: `127.0.0.1:${port}`, repository: 'hello', tag: '1' }, access())),
      ),
    )
    expect(String(answers[0])).toBe(String(answers[1]))
  })

  test('are refused behind a name, too, and with one good address among them', async () => {
    await start()
    const resolve = async () => [
      { address: '93.184.216.34', family: 4 },
      { address: '169.254.169.254', family: 4 },
    ]
    const reference = { registry: 'registry.example', repository: 'hello', tag: '1' }
    expect(await failureOf(resolveDigest(reference, access({ resolve })))).toMatchObject({
      code: 'RegistryRefused',
    })
  })

  test('are refused as a realm, and no login is sent there', async () => {
    const other = await listenSomewhere()
    await start({ login: 'bearer', realm: `http://127.0.0.1:${other.port}/token` })
    const credentials = () => ({ username: 'admin', password: 'secret' })
    expect(await failureOf(resolveAt('hello:1', { credentials }))).toMatchObject({ code: 'RegistryRefused' })
    expect(other.connections()).toBe(0)
  })

  test('are refused as a redirect', async () => {
    await start()
    const other = await listenSomewhere()
    const location = `http://127.0.0.1:${other.port}/`
    registry.intercept(/manifests/, (_, response) => response.writeHead(307, { location }).end())
    expect(await failureOf(resolveAt('hello:1'))).toMatchObject({ code: 'RegistryRefused' })
    expect(other.connections()).toBe(0)
  })

  test('or outside are never spoken to without encryption', async () => {
    await start({ login: 'bearer', realm: 'http://auth.example/token' })
    const resolve = () => expect.unreachable('the name is not even looked up')
    expect(await failureOf(resolveAt('hello:1', { resolve }))).toMatchObject({ code: 'RegistryRefused' })
  })

  test('are open when the operator says so', async () => {
    await start()
    const digest = registry.addImage({ repository: 'hello', tag: '1' })
    const opened: RegistryAccess = { allowedHosts: [registry.address], credentials: () => undefined }
    const reference = parseReference(`${registry.address}/hello:1`)
    expect((await resolveDigest(reference, opened)).digest).toBe(digest)
  })
})

describe('the tar for a node without the registry', () => {
  const layers = [Buffer.alloc(300_000, 'a'), Buffer.alloc(200_000, 'b')]

  let seen: string[]

  async function read(digest: string): Promise<Map<string, Buffer>> {
    const image = { registry: registry.address, repository: 'acme/hello', digest }
    seen = []
    const files = new Map<string, Buffer>()
    const reader = extract()
    const source = streamImageTar(image, 'amd64', access())
    source.on('error', (error) => reader.destroy(error))
    source.pipe(reader)
    for await (const entry of reader) {
      const chunks: Buffer[] = []
      for await (const chunk of entry as AsyncIterable<Buffer>) chunks.push(chunk)
      seen.push(entry.header.name)
      files.set(entry.header.name, Buffer.concat(chunks))
    }
    return files
  }

  test('holds configuration, layers and the name', async () => {
    await start()
    const digest = registry.addImage({
      repository: 'acme/hello',
      tag: '1',
      layers: [...layers, Buffer.from('c')],
    })
    const files = await read(digest)
    const [index] = JSON.parse(String(files.get('manifest.json'))) as [
      { Config: string; RepoTags: string[]; Layers: string[] },
    ]
    expect(index.RepoTags).toEqual([localImageName('acme/hello', digest)])
    expect(JSON.parse(String(files.get(index.Config)))).toMatchObject({ architecture: 'amd64' })
    const inflated = index.Layers.map((name) => gunzipSync(files.get(name) ?? Buffer.alloc(0)))
    expect(inflated).toEqual([...layers, Buffer.from('c')])
  })

  test('carries a layer that occurs twice once', async () => {
    await start()
    const [layer] = layers
    const digest = registry.addImage({
      repository: 'acme/hello',
      tag: '1',
      layers: [layer, layer] as Buffer[],
    })
    const files = await read(digest)
    expect(seen).toHaveLength(3)
    const [index] = JSON.parse(String(files.get('manifest.json'))) as [{ Layers: string[] }]
    expect(index.Layers).toHaveLength(2)
  })

  test('fails when a layer is not what its digest says', async () => {
    await start()
    const digest = registry.addImage({ repository: 'acme/hello', tag: '1', layers })
    registry.intercept(/blobs/, (_, response) => response.writeHead(404).end())
    expect(await failureOf(read(digest))).toMatchObject({ code: 'ImageNotFound' })
    const good = await read(digest)
    const index = JSON.parse(String(good.get('manifest.json'))) as [{ Layers: string[] }]
    const name = index[0].Layers[1] ?? ''
    registry.corrupt(`sha256:${name.split('/')[0]}`, Buffer.alloc(good.get(name)?.length ?? 0))
    expect(await failureOf(read(digest))).toMatchObject({ code: 'ImageCorrupt' })
  })
})
