import { chown, mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Failure, messageOf } from '../failure.ts'
import type { Account } from '../machine/accounts.ts'

const lookEveryMs = 2000
const isCertificate = (file: string) => /^[A-Za-z0-9._-]+\.(?:pem|key)$/.test(file)

type Copying = {
  /** Where the operator keeps `<name>.pem` and `<name>.key`. Made when it is not there. */
  from: string
  to: string
  /** Who reads the copies. */
  account: Account | undefined
  say(message: string, keys: Record<string, unknown>): void
}

/**
 * Copies certificates and keys for the routers, which run as a user of their own: keys stay readable to root alone
 * where the operator keeps them. Looks for changes every 2 s until the process ends. What cannot be read is said once
 * and leaves the copies as they are. A Failure when the operator's folder can neither be found nor made.
 */
export async function keepCertificateCopies(copying: Copying): Promise<void> {
  await mkdir(copying.from, { recursive: true, mode: 0o700 }).catch((error: unknown) => {
    throw new Failure(`BERTH_TLS_FOLDER, ${copying.from}, cannot be used: ${messageOf(error)}.`)
  })
  await mkdir(copying.to, { recursive: true, mode: 0o700 })
  if (copying.account) await chown(copying.to, copying.account.uid, copying.account.gid)
  let problem: string | undefined
  let copies = false

  async function copySafely(): Promise<void> {
    copies = true
    try {
      await copyCertificates(copying)
      problem = undefined
    } catch (error) {
      if (problem !== messageOf(error))
        copying.say('certificates cannot be copied', { problem: messageOf(error) })
      problem = messageOf(error)
    } finally {
      copies = false
    }
  }

  await copySafely()
  setInterval(() => void (copies || copySafely()), lookEveryMs).unref()
}

/** Makes `to` hold what `from` does, each file whole or not at all. */
export async function copyCertificates({ from, to, account }: Omit<Copying, 'say'>): Promise<void> {
  const wanted = (await readdir(from)).filter(isCertificate)
  for (const file of wanted) {
    const content = await readFile(join(from, file))
    const copy = await readFile(join(to, file)).catch(() => undefined)
    if (copy?.equals(content)) continue
    const draft = join(to, `.${file}.new`)
    await rm(draft, { force: true })
    await writeFile(draft, content, { mode: 0o400 })
    if (account) await chown(draft, account.uid, account.gid)
    await rename(draft, join(to, file))
  }
  for (const file of await readdir(to)) if (!wanted.includes(file)) await rm(join(to, file), { force: true })
}
