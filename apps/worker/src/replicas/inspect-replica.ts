import type { Environment } from '@berth/contracts'
import type { ContainerState, ContainerStatus } from '@berth/engine'
import { appName } from './container-names.ts'
import { describeEnd, lastLines } from './container-end.ts'
import type { Failure, PlacedReplica, ReplicaHost } from './replica-deps.ts'

/**
 * running, frozen   the app is there and on that rung
 * held              the app's container runs, and the app waits before its first instruction: parked
 * parked            the sandbox runs, the app was made and does not run: never started, or stopped by us
 * exited            the app ended by itself, with the reason
 * cold              the sandbox runs, the app is gone (somebody pruned it)
 * gone              the sandbox is dead or gone, so the replica is
 */
export type ReplicaSight =
  | { kind: 'running' }
  | { kind: 'frozen' }
  | { kind: 'parked' }
  | { kind: 'held' }
  | { kind: 'cold' }
  | { kind: 'gone' }
  | Ended

type Ended = { kind: 'exited'; exitCode: number; oomKilled: boolean } & Failure

const up: readonly ContainerStatus[] = ['running', 'paused', 'restarting']

/**
 * What is there on the node. `wasParked` tells an app that was stopped on purpose from one that ended; the
 * values of its environment, null when it cannot be known, are kept out of the message. Fails with an `EngineError`.
 */
export async function inspectReplica(
  installation: string,
  host: ReplicaHost,
  replica: Pick<PlacedReplica, 'id' | 'containers' | 'template'>,
  about: { wasParked: boolean; environment: () => Promise<Environment | null> },
): Promise<ReplicaSight> {
  const { sandbox, app } = replica.containers
  const [sandboxState, appState] = await Promise.all([
    sandbox === undefined ? null : host.runtime.inspect(sandbox),
    host.runtime.inspect(app ?? appName(installation, replica.id)),
  ])
  if (sandbox === undefined || sandboxState === null || !up.includes(sandboxState.state))
    return { kind: 'gone' }
  if (appState === null) return { kind: 'cold' }
  if (appState.state === 'running')
    return appState.holds && (await host.runtime.isHeld(sandbox)) ? { kind: 'held' } : { kind: 'running' }
  if (appState.state === 'paused') return { kind: 'frozen' }
  if (about.wasParked || appState.state === 'created') return { kind: 'parked' }
  return ended(host, replica, appState, about.environment)
}

async function ended(
  host: ReplicaHost,
  replica: Pick<PlacedReplica, 'template'>,
  state: ContainerState,
  environment: () => Promise<Environment | null>,
): Promise<Ended> {
  const lines = await lastLines(host.runtime, state.id, environment)
  const memory = replica.template.containers[0]?.resources.memory ?? 0
  const { exitCode, oomKilled } = state
  return { kind: 'exited', exitCode, oomKilled, ...describeEnd(state, memory, lines) }
}
