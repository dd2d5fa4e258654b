import type { ReplicaId } from '@berth/contracts'
import { pino } from 'pino'
import { describe, expect, test } from 'vitest'
import { createAppRestarts } from './app-restarts.ts'
import { aReplica, aWorld } from './testing/picture.ts'
import type { ReplicaView } from './world-model.ts'

const id = 'rep-1' as ReplicaId
const hung = { reason: 'LivenessFailed', message: 'no answer in 1 s' } as const
const crash = { reason: 'AppCrashed', message: 'exit code 1' } as const

function setUp({ elsewhere = false, row = {} }: { elsewhere?: boolean; row?: Partial<ReplicaView> } = {}) {
  const justReady = { readyAt: new Date() }
  const world = aWorld({ replicas: [aReplica({ ...justReady, ...row })] })
  const clock = { ms: 0 }
  const done: string[] = []
  const written: string[] = []
  const published: string[] = []
  const restarts = createAppRestarts({
    picture: world,
    keeper: {
      halt: () => void done.push('halted'),
      fail: (_id, { reason }, how) => void done.push(`${reason}${how?.gently ? ', gently' : ''}`),
    },
    publisher: {
      publish(services) {
        published.push(...services)
        return { epoch: 1, sequence: 1 }
      },
    },
    writer: { write: (key, what) => void written.push(`${key} ${what}`) },
    fitsElsewhere: () => elsewhere,
    log: pino({ level: 'silent' }),
    now: () => clock.ms,
  })
  const replica = (): ReplicaView => world.replicas.get(id) ?? aReplica()
  /** The app came up again after its back-off. */
  const backUp = () => {
    clock.ms += 60_000
    world.updateReplica(id, { state: 'ready', serving: true, reason: null, ...justReady })
  }
  return { world, clock, restarts, replica, backUp, done, written, published }
}

describe('a replica whose app ended', () => {
  test('leaves the routes, says why, and rests for its back-off', () => {
    const { clock, restarts, replica, done, written, published } = setUp()
    restarts.ended(replica(), crash)
    expect(replica()).toMatchObject({ state: 'starting', serving: false, restarts: 1, ...crash })
    expect([done, written, published]).toEqual([[], ['rep-1 restarting'], ['svc-1']])
    clock.ms = 999
    expect(restarts.resting(replica())).toBe(true)
    clock.ms = 1000
    expect(restarts.resting(replica())).toBe(false)
  })

  test('again rests for twice as long', () => {
    const { clock, restarts, replica, backUp } = setUp()
    restarts.ended(replica(), crash)
    backUp()
    restarts.ended(replica(), crash)
    clock.ms += 1999
    expect(restarts.resting(replica())).toBe(true)
    clock.ms += 1
    expect(restarts.resting(replica())).toBe(false)
  })

  test('three times is given up where another node fits, and goes on where none does', () => {
    for (const elsewhere of [true, false]) {
      const { restarts, replica, backUp, done } = setUp({ elsewhere })
      for (let time = 0; time < 3; time += 1) {
        restarts.ended(replica(), crash)
        if (done.length === 0) backUp()
      }
      expect(done).toEqual(elsewhere ? ['AppCrashed'] : [])
      expect(replica().restarts).toBe(elsewhere ? 2 : 3)
    }
  })

  test('goes on counting under a new leader', () => {
    const ends = [50_000, 20_000].map((ago) => new Date(Date.now() - ago).toISOString())
    const { clock, restarts, replica } = setUp({ row: { ends } })
    restarts.ended(replica(), crash)
    clock.ms = 3999
    expect(restarts.resting(replica())).toBe(true)
    clock.ms = 4000
    expect(restarts.resting(replica())).toBe(false)
    expect(replica().ends).toHaveLength(3)
  })

  test('rests under a new leader for what is left of its back-off', () => {
    const ends = [40_000, 30_000, 20_000, 10_000].map((ago) => new Date(Date.now() - ago).toISOString())
    const rested = setUp({ row: { state: 'starting', ends } })
    expect(rested.restarts.resting(rested.replica())).toBe(false)
    const { clock, restarts, replica } = setUp({
      row: { state: 'starting', ends: [...ends, new Date().toISOString()] },
    })
    expect(restarts.resting(replica())).toBe(true)
    clock.ms = 10_000
    expect(restarts.resting(replica())).toBe(true)
    clock.ms = 16_000
    expect(restarts.resting(replica())).toBe(false)
  })

  test('never rests longer than its back-off, whatever the clock of the database says', () => {
    const ends = [new Date(Date.now() + 3_600_000).toISOString()]
    const { clock, restarts, replica } = setUp({ row: { state: 'starting', ends } })
    expect(restarts.resting(replica())).toBe(true)
    clock.ms = 1000
    expect(restarts.resting(replica())).toBe(false)
  })

  test('begins anew after ten minutes of health', () => {
    const ends = [new Date(0).toISOString(), new Date(1000).toISOString()]
    const readyAt = new Date(Date.now() - 11 * 60_000)
    const { restarts, replica } = setUp({ elsewhere: true, row: { ends, readyAt } })
    restarts.ended(replica(), crash)
    expect(replica().ends).toHaveLength(1)
  })

  test('is an event of its deployment', () => {
    const { world, restarts, replica, written } = setUp()
    world.updateReplica(id, { deploymentId: 'dep-1' as ReplicaView['deploymentId'] })
    restarts.ended(replica(), crash)
    expect(written).toEqual(['rep-1 restarting', 'deployment:dep-1 restart'])
  })
})

describe('a replica whose app hangs', () => {
  test('has its app stopped before it is started again', () => {
    const { restarts, replica, done } = setUp()
    restarts.hung(replica(), hung)
    expect(replica()).toMatchObject({ state: 'starting', serving: false, restarts: 1, ...hung })
    expect(done).toEqual(['halted'])
  })

  test('counts like one whose app ended, and is given up with a grace', () => {
    const { restarts, replica, backUp, done } = setUp({ elsewhere: true })
    restarts.ended(replica(), crash)
    backUp()
    restarts.hung(replica(), hung)
    backUp()
    restarts.hung(replica(), hung)
    expect(done).toEqual(['halted', 'LivenessFailed, gently'])
  })
})
