import type { NodeUid } from '@berth/contracts'
import { LeaseLostError } from '@berth/db'
import { pino } from 'pino'
import { beforeEach, expect, test } from 'vitest'
import { createNodeLanes, type NodeLanes } from './node-lanes.ts'

const n1 = 'nod-1' as NodeUid
const n2 = 'nod-2' as NodeUid

let told: string[]
let lanes: NodeLanes
beforeEach(() => {
  told = []
  lanes = createNodeLanes('tidy', pino({}, { write: (line) => void told.push(line) }))
})

test('a node whose work hangs keeps no other one from it, and gets no second piece', async () => {
  const hanging = Promise.withResolvers<void>()
  const done: string[] = []
  lanes.run(n1, () => hanging.promise)
  lanes.run(n1, async () => void done.push('n1 again'))
  lanes.run(n2, async () => void done.push('n2'))
  await expect.poll(() => done).toEqual(['n2'])
  hanging.resolve()
  await lanes.idle()
  expect(done).toEqual(['n2'])
  lanes.run(n1, async () => void done.push('n1'))
  await lanes.idle()
  expect(done).toEqual(['n2', 'n1'])
})

test('what fails is told once until it succeeds', async () => {
  const round = async (work: () => Promise<void>) => {
    lanes.run(n1, work)
    await lanes.idle()
  }
  const fails = () => Promise.reject(new Error('on fire'))
  await round(fails)
  await round(fails)
  expect(told).toHaveLength(1)
  expect(told[0]).toContain('on fire')
  await round(() => Promise.resolve())
  await round(fails)
  expect(told).toHaveLength(2)
})

test('a lease that is lost is not told', async () => {
  lanes.run(n1, () => Promise.reject(new LeaseLostError({ name: 'leader', holder: 'me', epoch: 1 })))
  await lanes.idle()
  expect(told).toEqual([])
})
