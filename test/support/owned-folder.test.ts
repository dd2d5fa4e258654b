import { existsSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { makeOwnedFolder } from './owned-folder.ts'

test('folders of a maker that is gone are removed, those of a living one stay', async () => {
  const dead = await mkdtemp(join(tmpdir(), 'berth-own-'))
  await writeFile(join(dead, 'owner.json'), JSON.stringify({ pid: process.pid, startTime: 'never' }))
  const mine = await makeOwnedFolder()
  const next = await makeOwnedFolder()
  expect(existsSync(dead)).toBe(false)
  expect(existsSync(mine)).toBe(true)
  for (const folder of [mine, next]) await rm(folder, { recursive: true })
})
