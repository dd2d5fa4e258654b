import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { freePort, type Proxy, startProcess } from './proxy.ts'

const main = join(import.meta.dirname, 'node-library-proxy.ts')
const manifest = JSON.parse(readFileSync(join(import.meta.dirname, '../../package.json'), 'utf8')) as {
  devDependencies: Record<string, string>
}

export const httpProxy = proxyOf('http-proxy', ['h2c'])
export const httpxy = proxyOf('httpxy', ['h2c'])
export const undici = proxyOf('undici', ['h2c', 'websocket'])

function proxyOf(library: string, lacks: Proxy['lacks'] = []): Proxy {
  return {
    name: library,
    lacks,
    version: () => manifest.devDependencies[library] ?? '',
    async start({ replicaPorts, folder }) {
      const port = await freePort()
      const command = [process.execPath, main, library, String(port), String(replicaPorts[0])]
      return startProcess({ name: library, port, command, folder })
    },
  }
}
