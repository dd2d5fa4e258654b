import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { gzipSync } from 'node:zlib'

export type FakeRegistryOptions = {
  /** What it asks for: nothing, `admin`/`secret` as Basic, or a token that its own realm gives for that login. */
  login?: 'none' | 'basic' | 'bearer'
  /** Overrides the realm, for realms that lead elsewhere. */
  realm?: string
  /** Whether HEAD answers name the digest; some registries do not. */
  namesDigest?: boolean
}

type FakeRegistryImage = { repository: string; tag: string; architecture?: string; layers?: Buffer[] }

/** A registry on 127.0.0.1 with images in memory. */
export type FakeRegistry = {
  /** `127.0.0.1:port`, as a reference names it. */
  readonly address: string
  readonly calls: readonly string[]
  /** The digest of the manifest. */
  addImage(image: FakeRegistryImage): string
  /** An index over images; the digest of the index. */
  addIndex(repository: string, tag: string, parts: { digest: string; architecture: string }[]): string
  /** What is kept under a digest. */
  bytesOf(digest: string): Buffer
  /** Other bytes under a digest than its own. */
  corrupt(digest: string, bytes: Buffer): void
  /** Answers the next matching call by itself. */
  intercept(pattern: RegExp, answer: (request: IncomingMessage, response: ServerResponse) => void): void
  stop(): Promise<void>
}

const token = 'a-token'
const expectedBasic = `Basic ${Buffer.from('admin:secret').toString('base64')}`
const manifestType = 'application/vnd.oci.image.manifest.v1+json'
const indexType = 'application/vnd.oci.image.index.v1+json'

export async function startFakeRegistry(options: FakeRegistryOptions = {}): Promise<FakeRegistry> {
  const blobs = new Map<string, { bytes: Buffer; type: string }>()
  const tags = new Map<string, string>()
  const calls: string[] = []
  const intercepts: {
    pattern: RegExp
    answer: (request: IncomingMessage, response: ServerResponse) => void
  }[] = []

  const put = (content: Buffer | object, type = 'application/octet-stream'): string => {
    const bytes = Buffer.isBuffer(content) ? content : Buffer.from(JSON.stringify(content))
    const digest = digestOf(bytes)
    blobs.set(digest, { bytes, type })
    return digest
  }
  const describe = (digest: string) => ({ digest, size: blobs.get(digest)?.bytes.length ?? 0 })

  const server = createServer((request, response) => {
    const path = request.url ?? ''
    calls.push(`${request.method} ${path}`)
    const taken = intercepts.findIndex(({ pattern }) => pattern.test(`${request.method} ${path}`))
    if (taken !== -1) return intercepts.splice(taken, 1)[0]?.answer(request, response)
    if (path.startsWith('/token')) return giveToken(request, response)
    if (!mayRead(request)) return refuse(response)
    const match = /^\/v2\/(.+)\/(?:manifests|blobs)\/([^/]+)$/.exec(path)
    const [, repository = '', reference = ''] = match ?? []
    const digest = tags.get(`${repository}:${reference}`) ?? reference
    const found = blobs.get(digest)
    if (found === undefined)
      return void response.writeHead(404).end('{"errors":[{"code":"MANIFEST_UNKNOWN"}]}')
    response.writeHead(200, {
      'content-type': found.type,
      'content-length': found.bytes.length,
      ...(options.namesDigest === false ? {} : { 'docker-content-digest': digest }),
    })
    response.end(request.method === 'HEAD' ? undefined : found.bytes)
  })

  function mayRead(request: IncomingMessage): boolean {
    const { authorization } = request.headers
    if (options.login === 'basic') return authorization === expectedBasic
    if (options.login === 'bearer') return authorization === `Bearer ${token}`
    return true
  }

  function refuse(response: ServerResponse): void {
    const realm = options.realm ?? `http://${address}/token`
    const challenge =
      options.login === 'basic' ? 'Basic realm="fake"' : `Bearer realm="${realm}",service="fake",scope="x"`
    response.writeHead(401, { 'www-authenticate': challenge }).end()
  }

  function giveToken(request: IncomingMessage, response: ServerResponse): void {
    if (request.headers.authorization !== expectedBasic) return void response.writeHead(401).end()
    response.end(JSON.stringify({ token }))
  }

  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = `127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    address,
    calls,
    addImage({ repository, tag, architecture = 'amd64', layers = [Buffer.alloc(1024)] }) {
      const config = put({
        architecture,
        os: 'linux',
        config: { User: '1000', ExposedPorts: { '8080/tcp': {}, '53/udp': {} } },
        rootfs: { type: 'layers', diff_ids: layers.map(digestOf) },
      })
      const manifest = put(
        {
          schemaVersion: 2,
          mediaType: manifestType,
          config: describe(config),
          layers: layers.map((layer) => describe(put(gzipSync(layer)))),
        },
        manifestType,
      )
      tags.set(`${repository}:${tag}`, manifest)
      return manifest
    },
    addIndex(repository, tag, parts) {
      const manifests = parts.map(({ digest, architecture }) => ({
        ...describe(digest),
        platform: { os: 'linux', architecture },
      }))
      const digest = put({ schemaVersion: 2, mediaType: indexType, manifests }, indexType)
      tags.set(`${repository}:${tag}`, digest)
      return digest
    },
    bytesOf: (digest) => blobs.get(digest)?.bytes ?? Buffer.alloc(0),
    corrupt: (digest, bytes) => void blobs.set(digest, { bytes, type: 'application/octet-stream' }),
    intercept: (pattern, answer) => void intercepts.push({ pattern, answer }),
    async stop() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

function digestOf(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`
}
