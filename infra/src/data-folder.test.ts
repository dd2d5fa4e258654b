import { chmod, mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { openDataFolder } from './data-folder.ts'

let folder: string

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'berth-data-'))
})

afterEach(async () => {
  await rm(folder, { recursive: true, force: true })
})

test('the first start makes an id, a key and a token; the next finds the same', async () => {
  const first = await openDataFolder(folder)
  expect(first.installation).toMatch(/^[0-9a-f]{8}$/)
  expect(Buffer.from(await readFile(first.masterKeyFile, 'utf8'), 'base64')).toHaveLength(32)
  expect(await openDataFolder(folder)).toEqual(first)
})

test('key and token are readable by their owner alone', async () => {
  const data = await openDataFolder(folder)
  for (const file of [data.masterKeyFile, data.adminTokenFile])
    expect(((await stat(file)).mode & 0o777).toString(8)).toBe('600')
})

test('a damaged key is reported and not replaced', async () => {
  const data = await openDataFolder(folder)
  await writeFile(data.masterKeyFile, 'half a key')
  await expect(openDataFolder(folder)).rejects.toThrow(/master\.key is damaged/)
  expect(await readFile(data.masterKeyFile, 'utf8')).toBe('half a key')
})

test('a lost key beside a database is reported and not made anew', async () => {
  const data = await openDataFolder(folder)
  await mkdir(join(folder, 'postgres'))
  await rm(data.masterKeyFile)
  await expect(openDataFolder(folder)).rejects.toThrow(/master\.key is missing/)
})

test('a file in the place of the folder is one sentence', async () => {
  const file = join(folder, 'file')
  await writeFile(file, '')
  await chmod(file, 0o600)
  await expect(openDataFolder(file)).rejects.toThrow('is not a folder; set BERTH_DATA')
})
