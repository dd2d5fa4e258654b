import type { ReplicaId } from '@berth/contracts'
import { LeaseLostError as RowLeaseLostError } from '@berth/db'
import type { Logger } from 'pino'
import { isLeaseLost } from '../replicas/index.ts'
import type { Term } from './leadership.ts'

type OperationKind = 'start' | 'wake' | 'step' | 'hold' | 'halt' | 'retire'

/** What the work of an operation listens to. */
export type Signals = {
  /** A start or a wake is to end, or the waiting of a step; aborts with the term too. */
  calledOff: AbortSignal
  /** An app that is being stopped in a step is to get less time to end by itself. */
  hurried: AbortSignal
}

type Operation = {
  readonly kind: OperationKind
  readonly isCalledOff: boolean
  callOff(): void
  hurry(): void
  /** Never rejects. */
  readonly done: Promise<unknown>
}

/** What is being done to replicas: one thing at a time to each. */
export type Operations = {
  /** Runs `work` as the one operation of the replica. Its errors end here, and `otherwise` is the answer then. */
  run<T>(id: ReplicaId, kind: OperationKind, work: (signals: Signals) => Promise<T>, otherwise: T): Promise<T>
  of(id: ReplicaId): Operation | undefined
  all(): Iterable<[ReplicaId, Operation]>
  /** Resolves when nothing is being done any more. */
  idle(): Promise<void>
}

export function createOperations(term: Pick<Term, 'signal' | 'lose'>, log: Logger): Operations {
  const operations = new Map<ReplicaId, Operation>()

  async function perform<T>(
    id: ReplicaId,
    kind: OperationKind,
    work: () => Promise<T>,
    otherwise: T,
  ): Promise<T> {
    try {
      return await work()
    } catch (error) {
      if (error instanceof RowLeaseLostError) term.lose()
      else if (isLeaseLost(error))
        log.debug({ replica: id, kind }, 'held back while the lease is not renewed')
      else log.error({ err: error, replica: id, kind }, 'replica operation failed')
      return otherwise
    } finally {
      operations.delete(id)
    }
  }

  return {
    run(id, kind, work, otherwise) {
      const [off, haste] = [new AbortController(), new AbortController()]
      const calledOff = AbortSignal.any([off.signal, term.signal])
      const operation = {
        kind,
        get isCalledOff() {
          return off.signal.aborted
        },
        callOff: () => off.abort(),
        hurry: () => haste.abort(),
        done: Promise.resolve<unknown>(undefined),
      }
      // Before the work begins, which may ask what is being done.
      operations.set(id, operation)
      const done = perform(id, kind, () => work({ calledOff, hurried: haste.signal }), otherwise)
      operation.done = done
      return done
    },
    of: (id) => operations.get(id),
    all: () => operations,
    async idle() {
      while (operations.size > 0) await Promise.all([...operations.values()].map(({ done }) => done))
    },
  }
}
