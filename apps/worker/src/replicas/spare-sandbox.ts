import type { SpareRow } from '@berth/db'
import { isEngineError } from '@berth/engine'
import { containerLabels, sandboxName } from './container-names.ts'
import { isLeaseLost } from './replica-failure.ts'
import type { ReplicaDeps, ReplicaHost } from './replica-deps.ts'
import { openSandbox, type Sandbox } from './sandbox.ts'

/** What a spare can be used for, and the project's name for its label. */
export type SpareFor = { projectUid: string; project: string; containerPort: number }

/**
 * Makes one sandbox ahead for the next replica of the project on the node with this container port. Null when the
 * node has no port left, or the spare was removed meanwhile. What failed leaves nothing; fails with an `EngineError`.
 */
export async function makeSpare(
  deps: ReplicaDeps,
  host: ReplicaHost,
  wanted: SpareFor & { address: string },
): Promise<SpareRow | null> {
  const { projectUid, containerPort } = wanted
  const row = await deps.rows.reserveSpare({ nodeUid: host.uid, projectUid, containerPort })
  if (row === null) return null
  try {
    const sandbox = await openSpare(deps, host, row, wanted)
    await sandbox.started
    await deps.rows.markSpareReady(row.id, sandbox.id)
    return { ...row, containerId: sandbox.id }
  } catch (error) {
    if (isLeaseLost(error)) throw error
    await removeSpareSandbox(deps, host, row).catch(() => {})
    throw error
  }
}

/**
 * The sandbox of a spare in whatever state it is: made, being made by somebody else, or left half made by a leader
 * that died. All arrive at the same container, since its name comes from the spare's id.
 */
export async function openSpare(
  deps: ReplicaDeps,
  host: ReplicaHost,
  row: SpareRow,
  wanted: SpareFor & { address: string },
): Promise<Sandbox> {
  if (row.containerId !== null) return { id: row.containerId, started: Promise.resolve() }
  return openSandbox(
    deps,
    host,
    {
      owner: row.id,
      projectUid: wanted.projectUid,
      project: wanted.project,
      address: wanted.address,
      hostPort: row.hostPort,
      containerPort: wanted.containerPort,
      labels: containerLabels({
        installation: deps.installation,
        role: 'sandbox',
        project: wanted.project,
        replica: row.id,
      }),
    },
    'start',
  )
}

/**
 * Removes a spare unless a replica has taken it. Fails with an `EngineError`; garbage collection removes the
 * container then, since no row names it any more.
 */
export async function removeSpareSandbox(
  deps: ReplicaDeps,
  host: ReplicaHost,
  row: Pick<SpareRow, 'id' | 'containerId'>,
): Promise<void> {
  if (!(await deps.rows.giveUpSpare(row.id))) return
  try {
    await host.runtime.remove(row.containerId ?? sandboxName(deps.installation, row.id), deps.fence)
  } catch (error) {
    if (!isEngineError(error, 'NotFound')) throw error
  }
}
