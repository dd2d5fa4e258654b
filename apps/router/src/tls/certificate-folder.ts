import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Logger } from 'pino'
import { parseCertificate, type Certificate } from './certificate.ts'
import { CertificateChoice } from './certificate-choice.ts'

const lookEveryMs = 2000
const maxFileBytes = 256 * 1024

export type CertificateFolder = {
  /** The newest that could be read. */
  current: () => CertificateChoice
  close(): void
}

type Pair = { chain: Buffer; key: Buffer }

/**
 * Certificates from `<name>.pem` (the chain) and `<name>.key` in a folder, looked at every 2 s: files are replaced and
 * links moved in more ways than a watcher tells. A pair that cannot be read, or is half replaced, is logged once, and
 * what was there under its name before goes on.
 */
export async function openCertificateFolder(folder: string, log: Logger): Promise<CertificateFolder> {
  const known = new Map<string, { pair: Pair; certificate: Certificate | undefined }>()
  let choice = new CertificateChoice([])
  let problem: string | undefined

  async function look(): Promise<void> {
    const pairs = await readPairs(folder)
    let changed = false
    for (const name of known.keys()) if (!pairs.has(name)) changed = known.delete(name)
    for (const [name, pair] of pairs) {
      const before = known.get(name)
      if (before && isSame(before.pair, pair)) continue
      known.set(name, { pair, certificate: parsed(name, pair) ?? before?.certificate })
      changed = true
    }
    if (!changed) return
    choice = new CertificateChoice([...known.values()].flatMap(({ certificate }) => certificate ?? []))
  }

  function parsed(name: string, { chain, key }: Pair): Certificate | undefined {
    try {
      const certificate = parseCertificate(chain, key, Date.now())
      const { names, validUntil } = certificate
      log.info(
        { certificate: name, names, validUntil: new Date(validUntil).toISOString() },
        'certificate read',
      )
      return certificate
    } catch (error) {
      log.error({ certificate: name, problem: textOf(error) }, 'certificate cannot be used')
      return undefined
    }
  }

  async function lookSafely(): Promise<void> {
    try {
      await look()
      problem = undefined
    } catch (error) {
      if (problem !== textOf(error))
        log.error({ folder, problem: textOf(error) }, 'certificates cannot be read')
      problem = textOf(error)
    }
  }

  await lookSafely()
  let looking = false
  const timer = setInterval(() => {
    if (looking) return
    looking = true
    void lookSafely().finally(() => (looking = false))
  }, lookEveryMs).unref()
  return { current: () => choice, close: () => clearInterval(timer) }
}

async function readPairs(folder: string): Promise<Map<string, Pair>> {
  const pairs = new Map<string, Pair>()
  const files = new Set(await readdir(folder))
  for (const file of files) {
    const name = /^([A-Za-z0-9._-]+)\.pem$/.exec(file)?.[1]
    if (name === undefined || !files.has(`${name}.key`)) continue
    const [chain, key] = await Promise.all([
      readFile(join(folder, file)),
      readFile(join(folder, `${name}.key`)),
    ])
    if (chain.length <= maxFileBytes && key.length <= maxFileBytes) pairs.set(name, { chain, key })
  }
  return pairs
}

function isSame(a: Pair, b: Pair): boolean {
  return a.chain.equals(b.chain) && a.key.equals(b.key)
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
