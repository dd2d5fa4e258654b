import { Redis } from 'ioredis'
import pg from 'pg'
import { expect, inject, test } from 'vitest'

test('the private Postgres creates databases by name', async () => {
  const admin = new pg.Client({ connectionString: inject('postgresUrl') })
  await admin.connect()
  await admin.query('create database stores_up')
  await admin.end()
  const url = new URL(inject('postgresUrl'))
  url.pathname = '/stores_up'
  const client = new pg.Client({ connectionString: url.href })
  await client.connect()
  const { rows } = await client.query<{ name: string }>('select current_database() as name')
  await client.end()
  expect(rows[0]?.name).toBe('stores_up')
})

test('the private Redis refuses to forget', async () => {
  const redis = new Redis(inject('redisUrl'))
  expect(await redis.config('GET', 'maxmemory-policy')).toEqual(['maxmemory-policy', 'noeviction'])
  await redis.quit()
})
