import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { takeUpLock } from './up-lock.ts'

let folder: string

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'berth-lock-'))
})

afterEach(async () => {
  await rm(folder, { recursive: true, force: true })
})

test('one command at a time; the second is told who is at work', async () => {
  const lock = join(folder, 'up.lock')
  const release = await takeUpLock(lock)
  await expect(takeUpLock(lock)).rejects.toThrow(`Another ./berth command (pid ${process.pid})`)
  await release()
  await (
    await takeUpLock(lock)
  )()
})

test.each(['{"pid":1,"startTime":"never"}', '', 'not json'])(
  'a lock left behind (%j) is taken over',
  async (left) => {
    const lock = join(folder, 'up.lock')
    await writeFile(lock, left)
    await (
      await takeUpLock(lock)
    )()
  },
)
