import type { TestProject } from 'vitest/node'
import { startPrivatePostgres } from './private-postgres.ts'
import { startPrivateRedis } from './private-redis.ts'

declare module 'vitest' {
  interface ProvidedContext {
    /** Database `postgres` of a private server; each test file creates a database of its own beside it. */
    postgresUrl: string
    /** Socket path of a private Redis; each test file uses an installation id (key prefix) of its own. */
    redisUrl: string
  }
}

/** Global set-up of the integration tests: one Postgres and one Redis for all of them, on unix sockets. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const [postgres, redis] = await Promise.all([startPrivatePostgres(), startPrivateRedis()])
  project.provide('postgresUrl', postgres.url)
  project.provide('redisUrl', redis.url)
  return async () => {
    await Promise.all([postgres.stop(), redis.stop()])
  }
}
