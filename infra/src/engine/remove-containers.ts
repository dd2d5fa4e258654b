import {
  type ContainerRuntime,
  type ContainerSummary,
  type Fence,
  isEngineError,
  LeaseLostError,
} from '@berth/engine'
import { messageOf } from '../failure.ts'

/** What an app may take to end after its SIGTERM. */
const graceSeconds = 10
/** An engine works off its calls one after the other: more at once only run into their deadlines. */
const atOnce = 8

/** `problem` is why not all are gone, undefined when they are. */
export type Removal = { removed: number; problem: string | undefined }

/**
 * Stops and removes every container of an installation on one engine, apps before the sandboxes whose network they
 * live in. Never throws but for a lost lease.
 */
export async function removeContainers(
  runtime: ContainerRuntime,
  installation: string,
  fence: Fence,
): Promise<Removal> {
  let containers: ContainerSummary[]
  try {
    containers = await runtime.list({ installation })
  } catch (error) {
    return { removed: 0, problem: messageOf(error) }
  }
  const isSandbox = ({ labels }: ContainerSummary) => labels['berth.role'] === 'sandbox'
  const apps = containers.filter((each) => !isSandbox(each))
  let removed = 0
  let firstFailure: unknown
  for (const batch of [...batchesOf(apps), ...batchesOf(containers.filter(isSandbox))]) {
    const outcomes = await Promise.all(batch.map(({ id }) => removeOne(runtime, id, fence)))
    const failures = outcomes.filter((failure) => failure !== undefined)
    firstFailure ??= failures[0]
    removed += batch.length - failures.length
    // The others would only wait for an engine that has gone away.
    if (failures.some((failure) => isEngineError(failure, 'EngineTimeout', 'EngineUnreachable'))) break
  }
  if (firstFailure === undefined) return { removed, problem: undefined }
  const left = `${containers.length - removed} of ${containers.length} containers`
  return { removed, problem: `${left}: ${messageOf(firstFailure)}` }
}

function batchesOf(containers: readonly ContainerSummary[]): ContainerSummary[][] {
  const batches: ContainerSummary[][] = []
  for (let at = 0; at < containers.length; at += atOnce) batches.push(containers.slice(at, at + atOnce))
  return batches
}

/** Why it is still there, undefined when it is gone. One that does not stop in time is removed by force. */
async function removeOne(runtime: ContainerRuntime, id: string, fence: Fence): Promise<unknown> {
  try {
    await runtime.stop(id, graceSeconds, fence).catch(unlessLeaseLost)
    await runtime.remove(id, fence)
    return undefined
  } catch (error) {
    unlessLeaseLost(error)
    return error
  }
}

function unlessLeaseLost(error: unknown): void {
  if (error instanceof LeaseLostError) throw error
}
