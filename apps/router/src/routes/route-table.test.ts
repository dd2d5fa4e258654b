import { expect, test } from 'vitest'
import type { RouteDelta } from '@berth/contracts'
import { aHost, aReplica, aRevision, aSnapshot, testInstallation } from '../testing/routes.ts'
import { applyRoutes, snapshotOf, type RouteTable } from './route-table.ts'

function tableOf(snapshot = aSnapshot()): RouteTable {
  const result = applyRoutes(undefined, snapshot, testInstallation)
  if (result.kind !== 'applied') throw new Error(result.kind)
  return result.table
}

function aDelta(changes: Partial<RouteDelta> = {}): RouteDelta {
  return {
    kind: 'delta',
    base: { epoch: 1, sequence: 1 },
    version: { epoch: 1, sequence: 2 },
    hosts: [],
    removedHosts: [],
    revisions: [],
    removedRevisions: [],
    ...changes,
  }
}

test('a snapshot comes out as it went in', () => {
  const snapshot = aSnapshot({ revisions: [aRevision({ replicas: [aReplica('a')] })] })
  expect(snapshotOf(tableOf(snapshot))).toEqual(snapshot)
})

test('a delta replaces whole hosts and revisions and leaves the table before as it was', () => {
  const before = tableOf()
  const revision = aRevision({ replicas: [aReplica('a')] })
  const delta = aDelta({
    revisions: [revision],
    hosts: [aHost({ host: 'b' })],
    removedHosts: ['hello.localhost'],
  })
  const result = applyRoutes(before, delta, testInstallation)
  expect(result.kind === 'applied' && [...result.table.hosts.keys()]).toEqual(['b'])
  expect(result.kind === 'applied' && result.table.revisions.get('rev-1')).toEqual(revision)
  expect(before.hosts.has('hello.localhost')).toBe(true)
})

test('a delta applies on its base only', () => {
  expect(applyRoutes(undefined, aDelta(), testInstallation).kind).toBe('gap')
  const ahead = aDelta({ base: { epoch: 1, sequence: 2 }, version: { epoch: 1, sequence: 3 } })
  expect(applyRoutes(tableOf(), ahead, testInstallation).kind).toBe('gap')
  const seen = aDelta({ base: { epoch: 1, sequence: 0 }, version: { epoch: 1, sequence: 1 } })
  expect(applyRoutes(tableOf(), seen, testInstallation).kind).toBe('stale')
})

test('an older snapshot or one of another installation is left alone, one of the same version is not', () => {
  const table = tableOf(aSnapshot({ version: { epoch: 2, sequence: 5 } }))
  const apply = (epoch: number, sequence: number, installation = testInstallation) =>
    applyRoutes(table, aSnapshot({ version: { epoch, sequence }, installation }), testInstallation).kind
  expect([apply(1, 9), apply(2, 4), apply(2, 5), apply(3, 0), apply(3, 0, 'other')]).toEqual([
    'stale',
    'stale',
    'applied',
    'applied',
    'stale',
  ])
})
