import { isEngineError } from '@berth/engine'
import { appName, heldName, pastName, sandboxName } from './container-names.ts'
import type { PlacedReplica, ReplicaDeps, ReplicaHost } from './replica-deps.ts'

export const stopGraceSeconds = 10

/**
 * SIGTERM, after the grace SIGKILL, then app (with what was before it or is to be after it) and sandbox are removed. Success when they are gone already. The
 * caller has drained it before and removes the row afterwards. Fails with an `EngineError`; call again then.
 */
export async function stopReplica(
  deps: ReplicaDeps,
  host: ReplicaHost,
  replica: Pick<PlacedReplica, 'id' | 'containers'>,
  options: { graceSeconds?: number } = {},
): Promise<void> {
  const app = replica.containers.app ?? appName(deps.installation, replica.id)
  if (options.graceSeconds !== 0)
    await unlessGone(host.runtime.stop(app, options.graceSeconds ?? stopGraceSeconds, deps.fence))
  const besides = [heldName, pastName].map((name) => name(deps.installation, replica.id))
  await Promise.all([app, ...besides].map((name) => unlessGone(host.runtime.remove(name, deps.fence))))
  for (const sandbox of await sandboxesOf(deps, replica))
    await unlessGone(host.runtime.remove(sandbox, deps.fence))
}

/** The one that is known; before that was written down, the spare's or its own, whichever was made. */
async function sandboxesOf(
  deps: ReplicaDeps,
  replica: Pick<PlacedReplica, 'id' | 'containers'>,
): Promise<string[]> {
  if (replica.containers.sandbox !== undefined) return [replica.containers.sandbox]
  const spare = await deps.rows.spareOfReplica(replica.id)
  const own = sandboxName(deps.installation, replica.id)
  if (spare === null) return [own]
  return [spare.containerId ?? sandboxName(deps.installation, spare.id), own]
}

async function unlessGone(call: Promise<void>): Promise<void> {
  try {
    await call
  } catch (error) {
    if (!isEngineError(error, 'NotFound')) throw error
  }
}
