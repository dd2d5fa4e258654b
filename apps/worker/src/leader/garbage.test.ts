import type { ContainerSummary, NetworkState } from '@berth/engine'
import { describe, expect, test } from 'vitest'
import { garbageContainers, garbageNetworks, minGarbageAgeMs } from './garbage.ts'

const now = 10 * minGarbageAgeMs
const belongings = { owners: new Set(['rep-known']), networks: new Set(['net-known']) }

function aContainer(replica: string, change: Partial<ContainerSummary> = {}): ContainerSummary {
  return {
    id: replica,
    name: replica,
    state: 'running',
    createdAt: 0,
    image: 'image',
    address: null,
    labels: { 'berth.replica': replica, 'berth.role': 'app', 'berth.project': 'default' },
    ...change,
  }
}

const aNetwork = (name: string, project: string): NetworkState => ({
  id: name,
  name,
  subnet: '198.18.0.0/26',
  labels: { 'berth.project': project },
})

describe('garbage', () => {
  test('is an old container whose replica has no row', () => {
    const found = garbageContainers([aContainer('rep-known'), aContainer('rep-gone')], belongings, now)
    expect(found.map((container) => container.id)).toEqual(['rep-gone'])
  })

  test('is never a container younger than five minutes', () => {
    const young = aContainer('rep-new', { createdAt: now - minGarbageAgeMs + 1 })
    expect(garbageContainers([young], belongings, now)).toEqual([])
  })

  test('goes apps first, so that none is left without its sandbox', () => {
    const sandbox = aContainer('a', { labels: { 'berth.replica': 'a', 'berth.role': 'sandbox' } })
    const found = garbageContainers([sandbox, aContainer('b')], belongings, now)
    expect(found.map((container) => container.id)).toEqual(['b', 'a'])
  })

  test('is a network that no row names and no container could use', () => {
    const networks = [
      aNetwork('net-known', 'p1'),
      aNetwork('net-used', 'default'),
      aNetwork('net-gone', 'p2'),
    ]
    const found = garbageNetworks(networks, [aContainer('rep-known')], belongings)
    expect(found.map((network) => network.name)).toEqual(['net-gone'])
  })
})
