import { readFile } from 'node:fs/promises'
import type { NodeUid } from '@berth/contracts'
import { readNodeConnections, type Database, type Keyring, type NodeConnection } from '@berth/db'
import {
  connectEngine,
  EngineError,
  ensureSandboxImage,
  parseEndpoint,
  type ContainerRuntime,
  type Fence,
  type Tls,
} from '@berth/engine'
import type { Logger } from 'pino'
import type { ReplicaHost } from '../replicas/index.ts'
import type { NodeView } from './world-model.ts'

/** Connections to the engines of all nodes; each connects with its first call and again by itself. */
export type Engines = {
  /**
   * Opens what is new, closes what is gone, and opens anew what has another endpoint or other keys: those are
   * returned, since another engine may answer there.
   */
  refresh(): Promise<NodeUid[]>
  runtime(node: NodeUid): ContainerRuntime | undefined
  /** The node as procedures want it, null while its engine or its sandbox image is not known. */
  host(node: NodeView): ReplicaHost | null
  /**
   * Brings the sandbox's image to the node where it is missing, and gives its name; `host` knows the node from then
   * on. Fails with an `EngineError`; the node has no host then.
   */
  prepare(node: Pick<NodeView, 'uid'>, fence: Fence): Promise<string>
  close(): void
}

type Connected = {
  key: string
  /** Undefined where endpoint or keys are of no use. */
  runtime?: ContainerRuntime
  sandboxImage?: string
  preparing?: Promise<string>
}

export function openEngines(options: {
  db: Database
  keyring: Keyring
  /** Path of a static busybox. */
  busybox: string
  log: Logger
}): Engines {
  const { db, keyring, log } = options
  const connected = new Map<NodeUid, Connected>()

  function open({ uid, name, endpoint, tls }: NodeConnection): ContainerRuntime | undefined {
    try {
      const keys = tls === null ? undefined : (JSON.parse(keyring.openText(tls, `node:${uid}:tls`)) as Tls)
      return connectEngine(parseEndpoint(endpoint, keys))
    } catch (error) {
      log.error({ err: error, node: name }, 'engine connection cannot be made')
      return undefined
    }
  }

  async function bringSandboxImage(known: Connected, fence: Fence): Promise<string> {
    if (known.runtime === undefined)
      throw new EngineError('EngineUnreachable', 'the node has no usable endpoint')
    try {
      known.sandboxImage = await ensureSandboxImage(known.runtime, await readFile(options.busybox), fence)
      return known.sandboxImage
    } catch (error) {
      delete known.sandboxImage
      throw error
    }
  }

  async function prepare(uid: NodeUid, fence: Fence): Promise<string> {
    const known = connected.get(uid)
    if (known === undefined) throw new EngineError('EngineUnreachable', 'the node is not registered')
    known.preparing ??= bringSandboxImage(known, fence).finally(() => delete known.preparing)
    return await known.preparing
  }

  return {
    async refresh() {
      const nodes = await readNodeConnections(db)
      const present = new Set(nodes.map(({ uid }) => uid))
      const replaced: NodeUid[] = []
      for (const node of nodes) {
        const key = `${node.endpoint} ${node.tls?.toString('base64') ?? ''}`
        const known = connected.get(node.uid)
        if (known?.key === key) continue
        known?.runtime?.close()
        const runtime = open(node)
        connected.set(node.uid, { key, ...(runtime === undefined ? {} : { runtime }) })
        if (known !== undefined) replaced.push(node.uid)
      }
      for (const [uid, { runtime }] of connected) {
        if (present.has(uid)) continue
        runtime?.close()
        connected.delete(uid)
      }
      return replaced
    },
    runtime: (uid) => connected.get(uid)?.runtime,
    host(node) {
      const known = connected.get(node.uid)
      if (known?.runtime === undefined || known.sandboxImage === undefined) return null
      const { uid, name, architecture, honestPorts, cpuMillis } = node
      const { runtime, sandboxImage } = known
      return {
        uid,
        name,
        runtime,
        architecture,
        honestPorts,
        cpuMillis,
        sandboxImage,
        async restoreSandboxImage(fence) {
          await prepare(uid, fence)
        },
      }
    },
    prepare: (node, fence) => prepare(node.uid, fence),
    close() {
      for (const { runtime } of connected.values()) runtime?.close()
      connected.clear()
    },
  }
}
