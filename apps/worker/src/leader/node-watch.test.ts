import type { NodeReachability } from '@berth/contracts'
import { pino } from 'pino'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { startNodeWatch } from './node-watch.ts'
import { aNode } from './testing/picture.ts'
import type { NodeView } from './world-model.ts'

const names = ['n1', 'n2', 'n3'] as const

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

function setUp(reachability: NodeReachability = 'ready') {
  const nodes = names.map((name) => aNode({ uid: name as NodeView['uid'], name, reachability }))
  const dead = new Set<string>()
  const hung = new Set<string>()
  const changes: string[] = []
  const holds: (string | null)[] = []
  const verified: string[] = []
  const watch = startNodeWatch({
    nodes: () => nodes,
    ping(node) {
      if (hung.has(node.name)) return new Promise(() => undefined)
      return dead.has(node.name) ? Promise.reject(new Error('no answer')) : Promise.resolve()
    },
    onReturn(node) {
      verified.push(node.name)
      return Promise.resolve()
    },
    onChange(node, next) {
      changes.push(`${node.name} ${next}`)
      node.reachability = next
    },
    onSeen: () => undefined,
    onHold: (reason) => holds.push(reason),
    log: pino({ level: 'silent' }),
    now: () => Date.now(),
  })
  return { dead, hung, changes, holds, verified, watch }
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

  test('registers a node that was never seen with its first answer', async () => {
    const { changes, watch } = setUp('down')
    await seconds(1)
    expect(changes).toEqual(['n1 ready', 'n2 ready', 'n3 ready'])
    watch.close()
  })

  test('goes on asking the others while one hangs', async () => {
    const { hung, dead, changes, watch } = setUp()
    hung.add('n1')
    await seconds(2)
    dead.add('n2')
    await seconds(3)
    expect(changes).toEqual(['n2 down'])
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
