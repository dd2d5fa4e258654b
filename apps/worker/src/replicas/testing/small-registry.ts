import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { gzipSync } from 'node:zlib'

export type SmallRegistry = { address: string; digest: string; stop(): Promise<void> }

const sha256 = (bytes: Buffer) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`
const manifestType = 'application/vnd.oci.image.manifest.v1+json'

/** A registry on loopback that has one image with one layer, whatever it is asked for by name. */
export async function startSmallRegistry(architecture = 'amd64'): Promise<SmallRegistry> {
  const layer = gzipSync(Buffer.alloc(1024))
  const config = Buffer.from(
    JSON.stringify({
      architecture,
      os: 'linux',
      config: { User: '1000' },
      rootfs: { type: 'layers', diff_ids: [sha256(Buffer.alloc(1024))] },
    }),
  )
  const part = (mediaType: string, bytes: Buffer) => ({
    mediaType,
    digest: sha256(bytes),
    size: bytes.length,
  })
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: manifestType,
      config: part('application/vnd.oci.image.config.v1+json', config),
      layers: [part('application/vnd.oci.image.layer.v1.tar+gzip', layer)],
    }),
  )
  const blobs = new Map([layer, config, manifest].map((bytes) => [sha256(bytes), bytes]))
  const server = createServer((request, response) => {
    const [, kind, digest] = /\/(manifests|blobs)\/(.+)$/.exec(request.url ?? '') ?? []
    const bytes = blobs.get(digest ?? '')
    if (bytes === undefined) return void response.writeHead(404).end('{}')
    const type = kind === 'manifests' ? manifestType : 'application/octet-stream'
    response.writeHead(200, { 'content-type': type, 'docker-content-digest': sha256(bytes) })
    response.end(bytes)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    digest: sha256(manifest),
    async stop() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
