import { describe, expect, inject, test } from 'vitest'
import { checkForeignPostgres } from './foreign-postgres.ts'
import { checkForeignRedis } from './foreign-redis.ts'

const postgres = inject('postgresUrl')

describe('a Postgres of somebody else', () => {
  test('is fine when it answers and is new enough', async () => {
    await checkForeignPostgres(postgres)
  })

  test('that is too old is refused', async () => {
    await expect(checkForeignPostgres(postgres, 99)).rejects.toThrow(
      /^The Postgres at DATABASE_URL is version \d{2}; Berth needs 99 or newer\.$/,
    )
  })

  test('without that database says so', async () => {
    const url = new URL(postgres)
    url.pathname = '/nowhere'
    await expect(checkForeignPostgres(url.toString())).rejects.toThrow(
      'DATABASE_URL has no database of that name; check it, or unset it for a private Postgres.',
    )
  })

  test('that refuses the user says so and does not repeat the password', async () => {
    const url = new URL(postgres)
    url.username = 'nobody-of-that-name'
    url.password = 'secret'
    await expect(checkForeignPostgres(url.toString())).rejects.toThrow(
      'DATABASE_URL refuses the user; check it, or unset it for a private Postgres.',
    )
  })
})

test('a real Redis tells enough to be trusted', async () => {
  await checkForeignRedis(inject('redisUrl'))
})
