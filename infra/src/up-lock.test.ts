import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { takeUpLock } from './up-lock.ts'

let folder: string
let one: string
let other: string

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'berth-lock-'))
  one = join(folder, 'one')
  other = join(folder, 'other')
  await mkdir(one)
  await mkdir(other)
})

afterEach(() => rm(folder, { recursive: true, force: true }))

test('one command at a time; the second is told who is at work', async () => {
  const release = await takeUpLock(one)
  await expect(takeUpLock(one)).rejects.toThrow(`Another ./berth command (pid ${process.pid})`)
  await release()
  await (
    await takeUpLock(one)
  )()
})

test('another folder has a lock of its own', async () => {
  const release = await takeUpLock(one)
  await (
    await takeUpLock(other)
  )()
  await release()
})

test('a folder has one lock, by whatever path it is reached', async () => {
  const alias = join(folder, 'alias')
  await symlink(one, alias)
  const release = await takeUpLock(one)
  await expect(takeUpLock(alias)).rejects.toThrow('is at work here')
  await release()
})

test('of many that come at once exactly one gets it', async () => {
  const taken = await Promise.allSettled(Array.from({ length: 20 }, () => takeUpLock(one)))
  const releases = taken.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []))
  expect(releases).toHaveLength(1)
  for (const release of releases) await release()
})

test('a holder that is killed leaves nothing behind', async () => {
  const source = `
    const { takeUpLock } = await import('${join(import.meta.dirname, 'up-lock.ts')}')
    await takeUpLock('${one}')
    setInterval(() => {}, 1000)
    console.log('taken')`
  const holder = spawn(process.execPath, ['--input-type=module', '-e', source], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await once(holder.stdout, 'data')
  await expect(takeUpLock(one)).rejects.toThrow(`Another ./berth command (pid ${holder.pid})`)
  holder.kill('SIGKILL')
  await once(holder, 'exit')
  await (
    await takeUpLock(one)
  )()
})
