import { LeaseLostError, StoreUnavailableError, type Database } from '@berth/db'
import { pino } from 'pino'
import { expect, test, vi } from 'vitest'
import { createRowWriter } from './row-writer.ts'

const lease = { name: 'leader', holder: 'wrk-1', epoch: 1 }
const log = pino({ level: 'silent' })

function writer(onLeaseLost = () => {}) {
  return createRowWriter({ db: {} as Database, lease, onLeaseLost, log, retryMs: 1 })
}

test('writes of one key keep their order through an outage', async () => {
  const rows = writer()
  const done: string[] = []
  let outages = 3
  rows.write('a', 'first', async () => {
    if (outages-- > 0) throw new StoreUnavailableError('57P01')
    done.push('first')
  })
  rows.write('a', 'second', async () => void done.push('second'))
  await rows.idle()
  expect(done).toEqual(['first', 'second'])
})

test('a row that is being written, or was since, is touched', async () => {
  const rows = writer()
  const before = rows.moment()
  const held = Promise.withResolvers<void>()
  rows.write('a', 'slow', () => held.promise)
  expect(rows.touchedSince('a', before)).toBe(true)
  expect(rows.touchedSince('b', before)).toBe(false)
  held.resolve()
  await rows.idle()
  expect(rows.touchedSince('a', before)).toBe(true)
  expect(rows.touchedSince('a', rows.moment())).toBe(false)
})

test('a lost lease ends all writing', async () => {
  const lost = vi.fn()
  const rows = writer(lost)
  const after = vi.fn(() => Promise.resolve())
  rows.write('a', 'refused', () => Promise.reject(new LeaseLostError(lease)))
  rows.write('a', 'after', after)
  await rows.idle()
  rows.write('b', 'later', after)
  expect(lost).toHaveBeenCalledOnce()
  expect(after).not.toHaveBeenCalled()
})

test('a write that can never succeed does not hold up the next', async () => {
  const rows = writer()
  const next = vi.fn(() => Promise.resolve())
  rows.write('a', 'broken', () => Promise.reject(new Error('a bug')))
  rows.write('a', 'next', next)
  await rows.idle()
  expect(next).toHaveBeenCalledOnce()
})
