import type { DeploymentId } from '@berth/contracts'
import { expect, test } from 'vitest'
import type { ServiceMemory } from './action.ts'
import { awaitImage, type ImageOutcome } from './image-question.ts'

const question = { deployment: 'dep-1' as DeploymentId, generation: 1, attempt: 2 }
const image = { repository: 'r/hello', digest: 'sha256:1', architectures: [], contentHash: 'hash' }
const resolved = { kind: 'resolved', image } as const
const failed = { kind: 'failed', reason: 'RegistryUnreachable', message: 'down' } as const

function ask(memory: ServiceMemory, patienceMs: number) {
  const answer = Promise.withResolvers<ImageOutcome>()
  const late: string[] = []
  const asked = awaitImage(memory, question, answer.promise, {
    now: () => 5000,
    onLate: () => late.push('late'),
    patienceMs,
  })
  return { answer, asked, late }
}

test('an answer in time is remembered, and nobody is told', async () => {
  const memory: ServiceMemory = {}
  const { answer, asked, late } = ask(memory, 60_000)
  expect(memory.image).toMatchObject({ kind: 'asking', deployment: 'dep-1' })
  answer.resolve(resolved)
  await asked
  expect(memory.image).toEqual({ deployment: 'dep-1', generation: 1, ...resolved })
  expect(late).toEqual([])
})

test('a registry that takes long holds nobody up, and its answer is told', async () => {
  const memory: ServiceMemory = {}
  const { answer, asked, late } = ask(memory, 1)
  await asked
  expect(memory.image?.kind).toBe('asking')
  answer.resolve(failed)
  await expect.poll(() => late).toEqual(['late'])
  expect(memory.image).toMatchObject({ ...failed, attempts: 2, failedAtMs: 5000 })
})

test('an answer to a question that was replaced is dropped', async () => {
  const memory: ServiceMemory = {}
  const first = ask(memory, 1)
  await first.asked
  const second = ask(memory, 1)
  await second.asked
  first.answer.resolve(failed)
  await first.answer.promise
  expect(memory.image?.kind).toBe('asking')
  expect(first.late).toEqual([])
  second.answer.resolve(resolved)
  await expect.poll(() => memory.image?.kind).toBe('resolved')
})
