import { newId, reconcileQueue, redisKeys, type ReconcileReason, type ServiceUid } from '@berth/contracts'
import { Queue } from 'bullmq'
import { Redis } from 'ioredis'
import { pino } from 'pino'
import { afterEach, expect, inject, test, vi } from 'vitest'
import { startReconcileConsumer, type QueueOptions } from './reconcile-queue.ts'

const open: { close(): Promise<void> }[] = []
afterEach(async () => {
  for (const part of open.splice(0).toReversed()) await part.close()
})
const opened = <T extends { close(): Promise<void> }>(part: T): T => {
  open.push(part)
  return part
}

function options(redisUrl = inject('redisUrl')): QueueOptions & { warnings: string[] } {
  const warnings: string[] = []
  const stream = { write: (line: string) => void warnings.push(line) }
  return {
    redisUrl,
    installation: newId('WorkerId').slice(4),
    log: pino({ level: 'warn' }, stream),
    warnings,
  }
}

/** Adds jobs as the API does. */
function openProducer({ redisUrl, installation }: QueueOptions) {
  const connection = new Redis(redisUrl)
  const queue = new Queue(reconcileQueue, { connection, prefix: redisKeys(installation).queuePrefix })
  opened({
    async close() {
      await queue.close()
      connection.disconnect()
    },
  })
  return async (service: ServiceUid, reason: ReconcileReason) => {
    const deduplication = { id: service, keepLastIfActive: true }
    await queue.add('reconcile', { service, reason }, { deduplication })
  }
}

const service = 'svc-1' as ServiceUid
const patience = { timeout: 30_000, interval: 20 }

test('a job reaches a consumer with its id and reason', async () => {
  const shared = options()
  const seen: string[] = []
  const work = async (uid: ServiceUid, reason: string) => void seen.push(`${uid} ${reason}`)
  opened(startReconcileConsumer(shared, work))
  const enqueue = openProducer(shared)
  await enqueue(service, 'created')
  await vi.waitFor(() => expect(seen).toContain('svc-1 created'), patience)
})

test('what is added while a job runs leads to one more run, the last one added', async () => {
  const shared = options()
  const seen: string[] = []
  const gate = Promise.withResolvers<void>()
  const work = async (_uid: ServiceUid, reason: string) => {
    seen.push(reason)
    if (seen.length === 1) await gate.promise
  }
  opened(startReconcileConsumer(shared, work))
  const enqueue = openProducer(shared)
  await enqueue(service, 'created')
  await vi.waitFor(() => expect(seen).toEqual(['created']), patience)
  for (const reason of ['updated', 'swept', 'scale', 'cancelled'] as const) await enqueue(service, reason)
  gate.resolve()
  await vi.waitFor(() => expect(seen).toEqual(['created', 'cancelled']), patience)
  const other = 'svc-2' as ServiceUid
  await enqueue(other, 'deleted')
  await vi.waitFor(() => expect(seen).toContain('deleted'), patience)
  expect(seen).toEqual(['created', 'cancelled', 'deleted'])
})

test('without Redis it tells the outage once and closes all the same', async () => {
  const away = options('/nonexistent/redis.sock')
  const consumer = startReconcileConsumer(away, async () => {})
  await vi.waitFor(() => expect(away.warnings).not.toEqual([]), patience)
  await consumer.close()
  const told = away.warnings.map((line) => String((JSON.parse(line) as { msg: unknown }).msg))
  expect(told).toEqual(['reconcile jobs cannot be read'])
})
