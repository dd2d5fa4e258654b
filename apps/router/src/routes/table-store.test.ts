import { mkdtemp, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { aSnapshot } from '../testing/routes.ts'
import { createTableStore } from './table-store.ts'

let folder: string
let path: string
const log = pino({ level: 'silent' })

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'br-'))
  path = join(folder, 'router', 'routes.json')
})
afterEach(() => rm(folder, { recursive: true, force: true }))

const version = (sequence: number) => ({ version: { epoch: 1, sequence } })

async function keep(sequence: number): Promise<void> {
  const store = createTableStore(path, log)
  store.keep(() => aSnapshot(version(sequence)))
  await store.settled()
}

test('what was kept is there for the next process, also in a folder that was not there', async () => {
  expect(await createTableStore(path, log).load()).toBeUndefined()
  await keep(7)
  expect((await createTableStore(path, log).load())?.snapshot).toEqual(aSnapshot(version(7)))
})

test('of tables that come while one is written only the last is written', async () => {
  const store = createTableStore(path, log)
  const written: number[] = []
  for (const sequence of [1, 2, 3, 4])
    store.keep(() => {
      written.push(sequence)
      return aSnapshot(version(sequence))
    })
  await store.settled()
  expect(written.at(-1)).toBe(4)
  expect(written.length).toBeLessThan(4)
  expect((await store.load())?.snapshot.version.sequence).toBe(4)
})

test.each([
  ['empty', ''],
  ['cut off', JSON.stringify(aSnapshot()).slice(0, 40)],
  ['another kind of file', '{"kind": "delta"}'],
])('a file that is %s is as good as none, and is written over', async (_what, text) => {
  await keep(1)
  await writeFile(path, text)
  expect(await createTableStore(path, log).load()).toBeUndefined()
  await keep(2)
  expect((await createTableStore(path, log).load())?.snapshot.version.sequence).toBe(2)
})

test('a disk that refuses costs the file and nothing else', async () => {
  await writeFile(join(folder, 'router'), 'a file where the folder would be')
  await keep(1)
  expect(await createTableStore(path, log).load()).toBeUndefined()
})

test('the age of a table is told', async () => {
  await keep(1)
  const anHourAgo = new Date(Date.now() - 3_600_000)
  await utimes(path, anHourAgo, anHourAgo)
  const ageMs = (await createTableStore(path, log).load())?.ageMs
  expect(ageMs).toBeGreaterThan(3_500_000)
  expect(ageMs).toBeLessThan(7_200_000)
})
