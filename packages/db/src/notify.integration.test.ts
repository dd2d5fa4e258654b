import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { withTransaction } from './connection.ts'
import { listenForServiceChanges, notifyServiceChanged } from './notify.ts'
import { createTestDatabase, type TestDatabase } from './testing/test-database.ts'

let database: TestDatabase
beforeAll(async () => {
  database = await createTestDatabase(inject('postgresUrl'))
})
afterAll(() => database.drop())

/** Resolves when `happened` has been called as often as asked for. */
function counter() {
  const heard: string[] = []
  const waiting = new Set<() => void>()
  return {
    heard,
    happened(what: string) {
      heard.push(what)
      for (const wake of waiting) wake()
    },
    async until(length: number) {
      while (heard.length < length) {
        await new Promise<void>((resolve) => {
          waiting.add(resolve)
        })
        waiting.clear()
      }
    },
  }
}

test('listeners hear committed changes only, and again after their connection was cut', async () => {
  const changes = counter()
  const connections = counter()
  const losses: string[] = []
  const listening = listenForServiceChanges(database.url, {
    onChange: (uid) => changes.happened(uid),
    onListening: () => connections.happened('listening'),
    onLost: (message) => losses.push(message),
  })
  await connections.until(1)
  const undone = withTransaction(database.db, async (tx) => {
    await notifyServiceChanged(tx, 'svc-undone')
    throw new Error('no')
  })
  await expect(undone).rejects.toThrow('no')
  await notifyServiceChanged(database.db, 'svc-1')
  await changes.until(1)
  expect(changes.heard).toEqual(['svc-1'])

  await database.db.execute(
    sql`select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'berth-listen' and datname = current_database()`,
  )
  await connections.until(2)
  await notifyServiceChanged(database.db, 'svc-2')
  await changes.until(2)
  expect(changes.heard).toEqual(['svc-1', 'svc-2'])
  expect(losses).toHaveLength(1)
  await listening.close()
})
