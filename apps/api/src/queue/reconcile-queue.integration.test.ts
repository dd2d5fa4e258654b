import { reconcileJob, reconcileQueue, redisKeys } from '@berth/contracts'
import { Worker } from 'bullmq'
import { Redis } from 'ioredis'
import { pino } from 'pino'
import { expect, inject, test } from 'vitest'
import { until } from '../../../../test/support/poll.ts'
import { openReconcileHints } from './reconcile-queue.ts'

const log = pino({ level: 'silent' })

test('hints reach a worker with an id and a reason, and nothing stays behind', async () => {
  const installation = 'api-hints'
  const prefix = redisKeys(installation).queuePrefix
  const hints = openReconcileHints(inject('redisUrl'), installation, log)
  const connection = new Redis(inject('redisUrl'), { maxRetriesPerRequest: null })
  const seen: unknown[] = []
  const worker = new Worker(reconcileQueue, async (job) => void seen.push(reconcileJob.parse(job.data)), {
    connection,
    prefix,
  })
  try {
    await until(
      () => {
        // One that is sent before Redis is reached is lost, and may be: the sweep finds the service.
        hints.send('svc-1', 'created')
        return seen.length > 0
      },
      { describe: 'the worker to see a hint', intervalMs: 100 },
    )
    expect(seen[0]).toEqual({ service: 'svc-1', reason: 'created' })
  } finally {
    await worker.close()
    await hints.close()
    connection.disconnect()
  }
})

test('without Redis a hint is lost without an error or a wait', async () => {
  const hints = openReconcileHints('/nowhere/redis.sock', 'api-hints', log)
  hints.send('svc-1', 'created')
  await hints.close()
  expect(() => hints.send('svc-1', 'created')).not.toThrow()
})
