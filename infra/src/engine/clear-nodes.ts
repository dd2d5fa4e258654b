import { type Database, Keyring, type NodeConnection, readNodeConnections } from '@berth/db'
import { connectEngine, type ContainerRuntime, type Fence, parseEndpoint, type Tls } from '@berth/engine'
import type { DataFolder } from '../data-folder.ts'
import { messageOf } from '../failure.ts'
import { type Removal, removeContainers } from './remove-containers.ts'

/** `problems` has one sentence for each node on which containers are left. */
export type Clearing = { removed: number; problems: string[] }

/** Removes the containers of this Berth from every registered node, all nodes at once. */
export async function clearNodes(db: Database, data: DataFolder, fence: Fence): Promise<Clearing> {
  const nodes = await readNodeConnections(db)
  const removals = await Promise.all(nodes.map((node) => clearNode(node, data, fence)))
  return {
    removed: removals.reduce((sum, { removed }) => sum + removed, 0),
    problems: removals.flatMap(({ problem }, index) => {
      const node = nodes[index]
      if (problem === undefined || node === undefined) return []
      return [
        `Containers are left on node ${node.name} (${node.endpoint}): ${problem}; run ./berth down again when it answers.`,
      ]
    }),
  }
}

async function clearNode(node: NodeConnection, data: DataFolder, fence: Fence): Promise<Removal> {
  let runtime: ContainerRuntime
  try {
    runtime = connectEngine(parseEndpoint(node.endpoint, await tlsOf(node, data)))
  } catch (error) {
    return { removed: 0, problem: messageOf(error) }
  }
  try {
    return await removeContainers(runtime, data.installation, fence)
  } finally {
    runtime.close()
  }
}

/** The keys of a node with mutual TLS, which lie sealed in the database. */
async function tlsOf({ uid, tls }: NodeConnection, { masterKeyFile }: DataFolder): Promise<Tls | undefined> {
  if (tls === null) return undefined
  const keyring = await Keyring.fromFile(masterKeyFile)
  return JSON.parse(keyring.openText(tls, `node:${uid}:tls`)) as Tls
}
