import { expect, test } from 'vitest'
import { createStartGate, startsAtOnce } from './start-gate.ts'

const node = { uid: 'n1', cpuMillis: 2000 }

/** Work that ends when told to, and says when it has begun. */
function work(begun: string[], name: string) {
  const { promise, resolve } = Promise.withResolvers<void>()
  return {
    end: resolve,
    async run() {
      begun.push(name)
      await promise
      return name
    },
  }
}

/** Lets everything that is ready go on. */
const settle = () => new Promise((resolve) => setImmediate(resolve))

test('four starts at a time on two cores, more on more, never fewer than two', () => {
  expect([0, 250, 1000, 2000, 8000].map(startsAtOnce)).toEqual([4, 2, 2, 4, 16])
})

test('what is beyond the limit waits in order, wakes first', async () => {
  const gate = createStartGate()
  const begun: string[] = []
  const running = ['a', 'b', 'c', 'd'].map((name) => work(begun, name))
  const waiting = ['start-1', 'start-2', 'wake-1', 'wake-2'].map((name) => work(begun, name))
  const all = [...running, ...waiting].map((each, index) =>
    gate.run(node, index >= 6 ? 'wake' : 'start', () => each.run()),
  )
  await settle()
  expect(begun).toEqual(['a', 'b', 'c', 'd'])
  for (const each of [...running, ...waiting]) each.end()
  await Promise.all(all)
  expect(begun.slice(4)).toEqual(['wake-1', 'wake-2', 'start-1', 'start-2'])
})

test('nodes do not wait for each other, and what fails gives its turn back', async () => {
  const gate = createStartGate()
  const small = { uid: 'small', cpuMillis: 1000 }
  const begun: string[] = []
  const [one, two] = [work(begun, 'one'), work(begun, 'two')]
  const both = [one, two].map((each) => gate.run(small, 'start', () => each.run()))
  expect(await gate.run(node, 'start', async () => 'elsewhere')).toBe('elsewhere')
  one.end()
  await both[0]
  const failing = gate.run(small, 'start', () => Promise.reject(new Error('no')))
  await expect(failing).rejects.toThrow('no')
  expect(await gate.run(small, 'start', async () => 'next')).toBe('next')
  two.end()
  await Promise.all(both)
})
