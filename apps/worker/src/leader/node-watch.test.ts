import type { NodeReachability } from '@berth/contracts'
import { pino } from 'pino'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { startNodeWatch } from './node-watch.ts'
import { aNode } from './testing/picture.ts'
import type { NodeView } from './world-model.ts'

const names = ['n1', 'n2', 'n3'] as const
const pingDeadlineMs = 2_000

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

function setUp(reachability: NodeReachability = 'ready') {
  const nodes = names.map((name) => aNode({ uid: name as NodeView['uid'], name, reachability }))
  const dead = new Set<string>()
  const hung = new Set<string>()
  const refused = new Set<string>()
  const changes: string[] = []
  const messages: (string | null)[] = []
  const holds: (string | null)[] = []
  const verified: string[] = []
  const watch = startNodeWatch({
    nodes: () => nodes,
    ping(node) {
      if (hung.has(node.name)) return rejectsAfter(pingDeadlineMs)
      return dead.has(node.name) ? Promise.reject(new Error('no answer')) : Promise.resolve()
    },
    onReturn(node) {
      verified.push(node.name)
      return refused.has(node.name) ? Promise.reject(new Error('refused')) : Promise.resolve()
    },
    onChange(node, next, message) {
      changes.push(`${node.name} ${next}`)
      messages.push(message)
      node.reachability = next
    },
    onSeen: () => undefined,
    onHold: (reason) => holds.push(reason),
    log: pino({ level: 'silent' }),
    now: () => Date.now(),
  })
  return { dead, hung, refused, changes, messages, holds, verified, watch }
}

function rejectsAfter(ms: number): Promise<never> {
  return new Promise((_resolve, reject) => {
    setTimeout(() => reject(new Error('no answer in time')), ms)
  })
}

const seconds = (count: number) => vi.advanceTimersByTimeAsync(count * 1000)

describe('watching nodes', () => {
  test('calls a node down after three missed pings, not before', async () => {
    const { dead, changes, watch } = setUp()
    await seconds(3)
    dead.add('n2')
    await seconds(2)
    expect(changes).toEqual([])
    await seconds(1)
    expect(changes).toEqual(['n2 down'])
    watch.close()
  })

  test('takes a node back after two answers, once it is verified', async () => {
    const { dead, changes, verified, watch } = setUp()
    await seconds(1)
    dead.add('n1')
    await seconds(3)
    dead.clear()
    await seconds(1)
    expect(changes).toEqual(['n1 down'])
    await seconds(1)
    expect(changes).toEqual(['n1 down', 'n1 ready'])
    expect(verified).toEqual(['n1'])
    watch.close()
  })

  test('takes a node that is lost again and again back only when its link has held for longer each time', async () => {
    const { dead, changes, messages, watch } = setUp()
    await seconds(1)
    const lose = async () => {
      dead.add('n1')
      await seconds(3)
      dead.clear()
    }
    for (const _loss of [1, 2]) {
      await lose()
      await seconds(2)
    }
    expect(changes).toEqual(['n1 down', 'n1 ready', 'n1 down', 'n1 ready'])
    changes.splice(0)
    for (const _loss of [3, 4, 5]) {
      await lose()
      await seconds(9)
    }
    // Lost once more, and never back in between.
    expect(changes.filter((change) => change === 'n1 ready')).toEqual([])
    expect(messages).toContain('it was lost 3 times within 5 minutes: ready again after 10 s without a miss')
    await seconds(1)
    expect(changes.at(-1)).toBe('n1 ready')
    watch.close()
  })

  test('holds losses of most nodes at once against none of them', async () => {
    const { dead, changes, watch } = setUp()
    await seconds(1)
    for (const _loss of [1, 2, 3, 4]) {
      for (const name of names) dead.add(name)
      await seconds(4)
      // One comes back before the others, which are not alone then.
      dead.delete('n1')
      await seconds(2)
      dead.clear()
      await seconds(2)
    }
    for (const name of names) expect(changes.filter((change) => change === `${name} ready`)).toHaveLength(4)
    watch.close()
  })

  test('forgives losses after five minutes', async () => {
    const { dead, changes, watch } = setUp()
    await seconds(1)
    const lose = async (steadySeconds: number) => {
      dead.add('n2')
      await seconds(3)
      dead.clear()
      await seconds(steadySeconds)
    }
    for (const _loss of [1, 2, 3]) await lose(10)
    await seconds(301)
    changes.splice(0)
    await lose(2)
    expect(changes).toEqual(['n2 down', 'n2 ready'])
    watch.close()
  })

  test('registers a node that was never seen with its first answer', async () => {
    const { changes, watch } = setUp('down')
    await seconds(1)
    expect(changes).toEqual(['n1 ready', 'n2 ready', 'n3 ready'])
    watch.close()
  })

  test('calls a node whose engine hangs down within six seconds of its last answer', async () => {
    const { hung, changes, watch } = setUp()
    await seconds(3)
    hung.add('n1')
    await seconds(4)
    expect(changes).toEqual([])
    await seconds(2)
    expect(changes).toEqual(['n1 down'])
    watch.close()
  })

  test('calls a node down whose ping never ends', async () => {
    const nodes = [aNode({ name: 'n1' })]
    const changes: string[] = []
    const watch = startNodeWatch({
      nodes: () => nodes,
      ping: () => new Promise(() => undefined),
      onReturn: () => Promise.resolve(),
      onChange: (node, next) => changes.push(`${node.name} ${next}`),
      onSeen: () => undefined,
      onHold: () => undefined,
      log: pino({ level: 'silent' }),
    })
    await seconds(5)
    expect(changes).toEqual(['n1 down'])
    watch.close()
  })

  test('goes on asking the others while one hangs', async () => {
    const { hung, dead, changes, watch } = setUp()
    await seconds(1)
    hung.add('n1')
    dead.add('n2')
    await seconds(3)
    expect(changes).toEqual(['n2 down'])
    watch.close()
  })

  test('verifies a node that is refused again after a back-off, and takes it back once it is not', async () => {
    const { refused, changes, verified, watch } = setUp('down')
    refused.add('n1')
    await seconds(16)
    const tries = verified.filter((name) => name === 'n1').length
    expect(tries).toBeGreaterThan(2)
    expect(tries).toBeLessThan(7)
    refused.clear()
    await seconds(16)
    expect(changes.at(-1)).toBe('n1 ready')
    watch.close()
  })

  test('verifies a node that was forgotten at once, whatever it was refused for before', async () => {
    const { refused, changes, watch } = setUp('down')
    refused.add('n1')
    await seconds(8)
    refused.clear()
    watch.forget('n1' as NodeView['uid'])
    await seconds(1)
    expect(changes.at(-1)).toBe('n1 ready')
    watch.close()
  })

  test('does not believe an answer that was asked for before a node was forgotten', async () => {
    const answer = Promise.withResolvers<void>()
    const nodes = [aNode({ reachability: 'down' })]
    const verified: string[] = []
    const pings = [answer.promise]
    const watch = startNodeWatch({
      nodes: () => nodes,
      ping: () => pings.shift() ?? Promise.reject(new Error('no answer')),
      onReturn: (node) => Promise.resolve(void verified.push(node.name)),
      onChange: () => undefined,
      onSeen: () => undefined,
      onHold: () => undefined,
      log: pino({ level: 'silent' }),
    })
    await seconds(1)
    watch.forget(aNode().uid)
    answer.resolve()
    await seconds(1)
    expect(verified).toEqual([])
    watch.close()
  })

  test('holds rescheduling when most nodes are lost at once, until they are back', async () => {
    const { dead, holds, watch } = setUp()
    await seconds(1)
    dead.add('n1').add('n2')
    await seconds(4)
    expect(holds).toEqual(['2 of 3 nodes were lost within 30 s'])
    expect(watch.held()).toMatch(/2 of 3/)
    await seconds(60)
    expect(watch.held()).toMatch(/2 of 3/)
    dead.clear()
    await seconds(3)
    expect(watch.held()).toBeNull()
    watch.close()
  })

  test('does not hold when a single node is lost', async () => {
    const { dead, holds, watch } = setUp()
    await seconds(1)
    dead.add('n1')
    await seconds(5)
    expect(holds).toEqual([])
    watch.close()
  })
})
