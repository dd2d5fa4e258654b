import { isEngineError } from '@berth/engine'
import { appName } from './container-names.ts'
import type { StepDownOutcome } from './freeze-replica.ts'
import { failureOf } from './replica-failure.ts'
import type { PlacedReplica, ReplicaDeps, ReplicaHost } from './replica-deps.ts'
import { stopGraceSeconds } from './stop-replica.ts'

/**
 * Stops the app (SIGTERM, after the grace SIGKILL) and keeps its container and sandbox; a frozen one is thawed first
 * by the engine. The caller has withdrawn it from the routes, acknowledged. Throws `LeaseLostError` only.
 */
export async function parkReplica(
  deps: Pick<ReplicaDeps, 'fence' | 'installation'>,
  host: ReplicaHost,
  replica: Pick<PlacedReplica, 'id' | 'containers'>,
): Promise<StepDownOutcome> {
  const app = replica.containers.app ?? appName(deps.installation, replica.id)
  try {
    await host.runtime.stop(app, stopGraceSeconds, deps.fence)
    return (await host.runtime.inspect(app)) === null ? { kind: 'gone' } : { kind: 'done' }
  } catch (error) {
    if (isEngineError(error, 'NotFound')) return { kind: 'gone' }
    return { kind: 'failed', ...failureOf(error) }
  }
}
