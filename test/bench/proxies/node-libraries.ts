import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { freePort, type Proxy, startProcess } from './proxy.ts'

const main = join(import.meta.dirname, 'node-library-proxy.ts')
const manifest = JSON.parse(readFileSync(join(import.meta.dirname, '../../package.json'), 'utf8')) as {
  devDependencies: Record<string, string>
}

export const httpProxy = proxyOf('http-proxy')
export const httpxy = proxyOf('httpxy')
export const undici = proxyOf('undici')

function proxyOf(library: string): Proxy {
  return {
    name: library,
    version: () => manifest.devDependencies[library] ?? '',
    async start(place) {
      const port = await freePort()
      const [replicaPort] = place.replicaPorts
      return startProcess(library, port, place, [
        process.execPath,
        main,
        library,
        String(port),
        String(replicaPort),
      ])
    },
  }
}
