import { isEngineError } from '@berth/engine'
import { appName } from './container-names.ts'
import { failureOf } from './replica-failure.ts'
import type { Failure, PlacedReplica, ReplicaDeps, ReplicaHost } from './replica-deps.ts'

/** `gone`: there is no app that could be stepped down; look with `inspectReplica`. */
export type StepDownOutcome = { kind: 'done' } | { kind: 'gone' } | ({ kind: 'failed' } & Failure)

/** Pauses the app. The caller has withdrawn it from the routes, acknowledged. Throws `LeaseLostError` only. */
export async function freezeReplica(
  deps: Pick<ReplicaDeps, 'fence' | 'installation'>,
  host: ReplicaHost,
  replica: Pick<PlacedReplica, 'id' | 'containers'>,
): Promise<StepDownOutcome> {
  const app = replica.containers.app ?? appName(deps.installation, replica.id)
  try {
    await host.runtime.pause(app, deps.fence)
    return { kind: 'done' }
  } catch (error) {
    const failure = failureOf(error)
    if (isEngineError(error, 'NotFound')) return { kind: 'gone' }
    if (isEngineError(error, 'Conflict', 'EngineFailure')) {
      const state = await host.runtime.inspect(app).catch(() => undefined)
      if (state === null || state?.state === 'exited') return { kind: 'gone' }
    }
    return { kind: 'failed', ...failure }
  }
}
