import fc from 'fast-check'
import { expect, test } from 'vitest'
import { anAnswer, anyAnswer } from '../testing/answers.ts'
import { nodeReadsAnswer } from '../testing/node-answer.ts'
import { readAnswer } from '../testing/read-answer.ts'

/** The same 3,000 answers every time; `npm run fuzz:router` tries many more, and others each time. */
const wanted = process.env['BERTH_FUZZ_RUNS']
const parameters = wanted === undefined ? { numRuns: 3000, seed: 9112 } : { numRuns: Number(wanted) }

test('an answer that our parser takes is the same one to the parser of Node', async () => {
  await fc.assert(
    fc.asyncProperty(anyAnswer, async (bytes) => {
      const { keepsConnection: _, ...ours } = readAnswer([bytes])
      if (ours.status === undefined) return
      const nodes = await nodeReadsAnswer(bytes)
      const { status, statusText, headers } = ours
      // Of an answer that breaks, the head has gone to the client all the same.
      if (ours.end === 'complete') expect(nodes).toEqual(ours)
      else expect(nodes).toMatchObject({ status, statusText, headers })
    }),
    parameters,
  )
})

test('a well formed answer is the same one to both', async () => {
  await fc.assert(
    fc.asyncProperty(anAnswer, async (bytes) => {
      const { keepsConnection: _, ...said } = readAnswer([bytes])
      expect(await nodeReadsAnswer(bytes)).toEqual(said)
    }),
  )
})
