import { existsSync } from 'node:fs'
import { chown, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Failure } from '../failure.ts'
import { callHttp } from '../http-call.ts'
import { findAccount, isRoot } from '../machine/accounts.ts'
import type { RunFolder } from '../run-folder.ts'
import type { Settings } from '../settings.ts'
import type { ProcessSpec } from '../supervisor/process-spec.ts'
import type { Shelter } from '../supervisor/shelter.ts'

/** Configuration of the CNCF registry: loopback only, with deletion, so that old images can be collected. */
export function registryConfig(root: string, port: number): string {
  return [
    'version: 0.1',
    'log: {level: warn, accesslog: {disabled: true}}',
    'storage:',
    `  filesystem: {rootdirectory: ${JSON.stringify(root)}}`,
    '  delete: {enabled: true}',
    '  cache: {blobdescriptor: inmemory}',
    `http: {addr: "127.0.0.1:${port}", headers: {X-Content-Type-Options: [nosniff]}}`,
    '',
  ].join('\n')
}

export async function prepareRegistry(
  data: string,
  folder: RunFolder,
  shelter: Shelter,
  port: number,
): Promise<void> {
  const root = join(data, 'registry')
  await mkdir(root, { recursive: true, mode: 0o700 })
  const account = registryAccount()
  if (account !== undefined) await chown(root, account.uid, account.gid)
  const config = registryConfig(shelter.path(root), port)
  await writeFile(folder.registryConfig, config, { mode: 0o600 })
  if (account === undefined) return
  await chown(folder.registryConfig, account.uid, account.gid)
}

export function registryProcess(
  { searchPath, ports }: Settings,
  folder: RunFolder,
  shelter: Shelter,
): ProcessSpec {
  const port = ports.registry
  const program = ['/usr/bin/docker-registry', '/usr/bin/registry'].find((path) => existsSync(path))
  if (program === undefined)
    throw new Failure('docker-registry is not installed; run ./berth packages as root.')
  return {
    name: 'registry',
    ...shelter.enter([program, 'serve', folder.registryConfig], registryAccount()),
    env: { PATH: searchPath, OTEL_TRACES_EXPORTER: 'none' },
    cwd: '/',
    async checkReady() {
      const { status } = await callHttp({ target: { port }, path: '/v2/', timeoutMs: 2000 })
      if (status !== 200) throw new Error(`the registry answers ${status}`)
    },
    stopSignal: 'SIGTERM',
    stopGraceMs: 5000,
  }
}

function registryAccount() {
  return isRoot() ? findAccount('docker-registry') : undefined
}
