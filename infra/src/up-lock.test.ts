import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { takeUpLock } from './up-lock.ts'

test('one command at a time; the second is told who is at work', async () => {
  const release = await takeUpLock('/srv/one')
  await expect(takeUpLock('/srv/one')).rejects.toThrow(`Another ./berth command (pid ${process.pid})`)
  await release()
  await (
    await takeUpLock('/srv/one')
  )()
})

test('another folder has a lock of its own', async () => {
  const release = await takeUpLock('/srv/one')
  await (
    await takeUpLock('/srv/other')
  )()
  await release()
})

test('of many that come at once exactly one gets it', async () => {
  const taken = await Promise.allSettled(Array.from({ length: 20 }, () => takeUpLock('/srv/one')))
  const releases = taken.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []))
  expect(releases).toHaveLength(1)
  for (const release of releases) await release()
})

test('a holder that is killed leaves nothing behind', async () => {
  const source = `
    const { takeUpLock } = await import('${join(import.meta.dirname, 'up-lock.ts')}')
    await takeUpLock('/srv/killed')
    setInterval(() => {}, 1000)
    console.log('taken')`
  const holder = spawn(process.execPath, ['--input-type=module', '-e', source], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await once(holder.stdout, 'data')
  await expect(takeUpLock('/srv/killed')).rejects.toThrow(`Another ./berth command (pid ${holder.pid})`)
  holder.kill('SIGKILL')
  await once(holder, 'exit')
  await (
    await takeUpLock('/srv/killed')
  )()
})
