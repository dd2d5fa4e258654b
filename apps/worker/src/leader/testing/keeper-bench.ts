import type { ReplicaId, RouteVersion } from '@berth/contracts'
import type { WorldReplica } from '@berth/db'
import type { Fence } from '@berth/engine'
import { pino } from 'pino'
import type { ReplicaDeps, ReplicaHost } from '../../replicas/index.ts'
import type { Term } from '../leadership.ts'
import { createReplicaKeeper, type Keeper, type KeeperOptions } from '../replica-keeper.ts'
import type { RowWriter } from '../row-writer.ts'
import type { NodeView, ReplicaView } from '../world-model.ts'
import { createPicture, type Picture } from '../world.ts'
import { aNode, aReplica, aRevision, aService } from './picture.ts'

type Procedures = NonNullable<KeeperOptions['procedures']>
type Calls = { [Name in keyof Procedures]: PromiseWithResolvers<Awaited<ReturnType<Procedures[Name]>>>[] }

/** A keeper of one replica on one node whose procedures, and routers, do nothing until the test says what came of it. */
export type KeeperBench = {
  keeper: Keeper
  picture: Picture
  /** The calls of each procedure so far; resolve or reject them. */
  calls: Calls
  /** What was to be woken, and how it was to be stopped. */
  given: { wake: Parameters<Procedures['wake']>[2][]; stop: Parameters<Procedures['stop']>[3][] }
  /** The signals that the last call of each procedure was given. */
  /** What the last start calls before its app starts. */
  takeOver: () => void
  signals: { start?: AbortSignal; wake?: AbortSignal; park?: AbortSignal; hold?: AbortSignal }
  /** Withdrawals that routers have not answered. */
  withdrawals: PromiseWithResolvers<'withdrawn' | 'busy'>[]
  /** How long each of them may take, in ms. */
  deadlines: number[]
  /** What was written, by name, in order. */
  written: string[]
  /** Reasons of failures, and `null` for what became ready. */
  outcomes: (string | null)[]
  /** Its rows as they were at the beginning. */
  rows: () => WorldReplica[]
  replica: () => ReplicaView | undefined
  setNode: (reachability: NodeView['reachability']) => void
  /** Lets everything that is ready to run do so. */
  settle: () => Promise<void>
}

const freeFence: Fence = { check: () => undefined }

export function keeperBench(change: Partial<ReplicaView> = {}): KeeperBench {
  const picture = createPicture({ touchedSince: () => false })
  const { serving, held, ...replica } = aReplica(change)
  const rows = [{ ...replica, failedAt: null }]
  picture.merge(
    {
      services: [{ ...aService(), deploying: false }],
      revisions: [aRevision()],
      replicas: rows,
      nodes: [aNode()],
    },
    { number: 1, moment: 0 },
  )
  picture.updateReplica(replica.id, { serving, held })

  const calls: Calls = {
    start: [],
    wake: [],
    freeze: [],
    park: [],
    hold: [],
    stop: [],
  }
  const given: KeeperBench['given'] = { wake: [], stop: [] }
  const signals: KeeperBench['signals'] = {}
  function called<Name extends keyof Procedures>(name: Name) {
    const call = Promise.withResolvers<Awaited<ReturnType<Procedures[Name]>>>()
    calls[name].push(call)
    return call.promise
  }
  const takeOvers: (() => void)[] = []
  const procedures: Procedures = {
    start(_deps, _host, _replica, { signal, takeOver }) {
      if (takeOver) takeOvers.push(takeOver)
      if (signal) signals.start = signal
      return called('start')
    },
    wake(_deps, _host, woken, { signal }) {
      given.wake.push(woken)
      if (signal) signals.wake = signal
      return called('wake')
    },
    freeze: () => called('freeze'),
    park(_deps, _host, _replica, { hurried } = {}) {
      if (hurried) signals.park = hurried
      return called('park')
    },
    hold(_deps, _host, _replica, { signal }) {
      signals.hold = signal
      return called('hold')
    },
    stop(_deps, _host, _replica, how) {
      given.stop.push(how)
      return called('stop')
    },
  }

  const withdrawals: KeeperBench['withdrawals'] = []
  const deadlines: number[] = []
  const written: string[] = []
  const outcomes: (string | null)[] = []
  let sequence = 0
  const version = (): RouteVersion => ({ epoch: 1, sequence: (sequence += 1) })
  const writer: RowWriter = {
    write: (_key, what) => void written.push(what),
    touchedSince: () => false,
    moment: () => 0,
    idle: () => Promise.resolve(),
    close: () => undefined,
  }
  const term: Term = {
    lease: { name: 'leader', holder: 'wrk-1', epoch: 1 },
    fence: freeFence,
    wakeFence: freeFence,
    signal: new AbortController().signal,
    isFresh: () => true,
    lose: () => undefined,
  }
  const keeper = createReplicaKeeper({
    term,
    picture,
    publisher: {
      publish: version,
      withdrawn(_replica, _version, deadlineMs) {
        deadlines.push(deadlineMs)
        const answer = Promise.withResolvers<'withdrawn' | 'busy'>()
        withdrawals.push(answer)
        return answer.promise
      },
    },
    writer,
    engines: { host: ({ uid, name }) => ({ uid, name }) as ReplicaHost },
    deps: { fence: freeFence } as ReplicaDeps,
    environmentOf: () => Promise.resolve({}),
    onOutcome: (_replica, failure) => void outcomes.push(failure?.reason ?? null),
    log: pino({ level: 'silent' }),
    procedures,
  })
  return {
    keeper,
    picture,
    calls,
    given,
    takeOver: () => takeOvers.at(-1)?.(),
    signals,
    withdrawals,
    deadlines,
    written,
    outcomes,
    rows: () => rows,
    replica: () => picture.replicas.get('rep-1' as ReplicaId),
    setNode: (reachability) => picture.updateNode(aNode().uid, { reachability }),
    settle: () => new Promise((resolve) => void setImmediate(resolve)),
  }
}
