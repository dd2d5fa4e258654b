import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { routerAccount } from '../machine/accounts.ts'
import { copyCertificates, keepCertificateCopies } from './certificate-copies.ts'

let folder: string
let from: string
let to: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'berth-copies-'))
  from = join(folder, 'from')
  to = join(folder, 'to')
  await keepCertificateCopies({ from, to, account: routerAccount, say: () => undefined })
})
afterEach(() => rm(folder, { recursive: true }))

const copy = () => copyCertificates({ from, to, account: routerAccount })

test('copies belong to the router alone, and what is no certificate stays where it is', async () => {
  await writeFile(join(from, 'shop.key'), 'key', { mode: 0o600 })
  await writeFile(join(from, 'shop.pem'), 'chain')
  await writeFile(join(from, 'notes.txt'), 'mine')
  await copy()
  expect((await readdir(to)).sort()).toEqual(['shop.key', 'shop.pem'])
  const { uid, mode } = await stat(join(to, 'shop.key'))
  expect({ uid, mode: mode & 0o777 }).toEqual({ uid: routerAccount.uid, mode: 0o400 })
  expect(await readFile(join(to, 'shop.key'), 'utf8')).toBe('key')
})

test('what changes is copied anew, what goes is removed', async () => {
  await writeFile(join(from, 'shop.key'), 'old')
  await writeFile(join(from, 'gone.key'), 'gone')
  await copy()
  await writeFile(join(from, 'shop.key'), 'new')
  await rm(join(from, 'gone.key'))
  await copy()
  expect(await readdir(to)).toEqual(['shop.key'])
  expect(await readFile(join(to, 'shop.key'), 'utf8')).toBe('new')
})

test('a folder that cannot be read leaves the copies', async () => {
  await writeFile(join(from, 'shop.key'), 'key')
  await copy()
  await rm(from, { recursive: true })
  await expect(copy()).rejects.toMatchObject({ code: 'ENOENT' })
  expect(await readdir(to)).toEqual(['shop.key'])
})
