import type { ContainerRuntime } from '@berth/engine'
import type { NodeFacts } from '@berth/db'
import type { NodeView } from './world-model.ts'

/** The node cannot be used as it is registered; the message tells the operator what to change. */
export class NodeRefusedError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'NodeRefusedError'
  }
}

export type NodeRegistrationOptions = {
  /** Brings the sandbox's image to the node, and gives its name. */
  prepare(): Promise<string>
  /** Whether a connect to a published port behind which nothing listens is refused on this node. */
  checkHonesty(runtime: ContainerRuntime, node: NodeView, sandboxImage: string): Promise<boolean>
  /** Another node on the same machine that makes this one sell what is sold already; null when there is none. */
  findTwin(
    node: NodeView,
    facts: { engineId: string; machineId: string },
  ): Promise<{ name: string; sameEngine: boolean } | null>
}

/**
 * Everything that has to be known before replicas are placed on a node: what the engine is, whether its machine is
 * sold already, that it has the sandbox's image, and whether its published ports tell the truth. Done at the first
 * contact and again when a node was away, since the engine behind the endpoint may be another one by then.
 * Throws `NodeRefusedError`, or an `EngineError` of the call that failed.
 */
export async function registerNode(
  runtime: ContainerRuntime,
  node: NodeView,
  options: NodeRegistrationOptions,
): Promise<NodeFacts> {
  const info = await runtime.info()
  if (info.os !== 'linux')
    throw new NodeRefusedError(`the engine runs ${info.os} containers, Berth needs linux`)
  const twin = await options.findTwin(node, info)
  if (twin?.sameEngine) throw new NodeRefusedError(`the same engine is registered as node "${twin.name}"`)
  if (twin)
    throw new NodeRefusedError(
      `node "${twin.name}" is on the same machine: give both a capacity, or it would be promised twice`,
    )
  const sandboxImage = await options.prepare()
  return {
    cpuMillis: info.cpus * 1000,
    memoryBytes: info.memoryBytes,
    engineId: info.engineId,
    machineId: info.machineId,
    engineVersion: info.engineVersion,
    apiVersion: info.apiVersion,
    architecture: info.architecture,
    honestPorts: await options.checkHonesty(runtime, node, sandboxImage),
  }
}
