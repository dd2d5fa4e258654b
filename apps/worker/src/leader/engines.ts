import { readFile } from 'node:fs/promises'
import type { NodeUid } from '@berth/contracts'
import { readNodeConnections, type Database, type Keyring } from '@berth/db'
import {
  connectEngine,
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
  /** Opens what is new, closes what is gone, and opens anew what has another endpoint or other keys. */
  refresh(): Promise<void>
  runtime(node: NodeUid): ContainerRuntime | undefined
  runtimes(): ContainerRuntime[]
  /** The node as procedures want it, null while its engine or its sandbox image is not known. */
  host(node: NodeView): ReplicaHost | null
  /** Brings the sandbox's image to the node; `host` knows the node from then on. */
  prepare(node: NodeView, fence: Fence): Promise<void>
  close(): void
}

type Connected = { key: string; runtime: ContainerRuntime; sandboxImage?: string }

export function openEngines(options: {
  db: Database
  keyring: Keyring
  /** Path of a static busybox. */
  busybox: string
  log: Logger
}): Engines {
  const { db, keyring, log } = options
  const connected = new Map<NodeUid, Connected>()
  let busybox: Promise<Buffer> | undefined

  return {
    async refresh() {
      const nodes = await readNodeConnections(db)
      const present = new Set(nodes.map(({ uid }) => uid))
      for (const { uid, name, endpoint, tls } of nodes) {
        const key = `${endpoint} ${tls?.toString('base64') ?? ''}`
        const known = connected.get(uid)
        if (known?.key === key) continue
        try {
          const keys =
            tls === null ? undefined : (JSON.parse(keyring.openText(tls, `node:${uid}:tls`)) as Tls)
          const runtime = connectEngine(parseEndpoint(endpoint, keys))
          known?.runtime.close()
          connected.set(uid, { key, runtime })
        } catch (error) {
          log.error({ err: error, node: name }, 'engine connection cannot be made')
        }
      }
      for (const [uid, { runtime }] of connected) {
        if (present.has(uid)) continue
        runtime.close()
        connected.delete(uid)
      }
    },
    runtime: (uid) => connected.get(uid)?.runtime,
    runtimes: () => [...connected.values()].map(({ runtime }) => runtime),
    host(node) {
      const known = connected.get(node.uid)
      if (known?.sandboxImage === undefined) return null
      const { uid, name, architecture, honestPorts, cpuMillis } = node
      const { runtime, sandboxImage } = known
      return { uid, name, runtime, architecture, honestPorts, cpuMillis, sandboxImage }
    },
    async prepare(node, fence) {
      const known = connected.get(node.uid)
      if (known === undefined || known.sandboxImage !== undefined) return
      busybox ??= readFile(options.busybox)
      known.sandboxImage = await ensureSandboxImage(known.runtime, await busybox, fence)
    },
    close() {
      for (const { runtime } of connected.values()) runtime.close()
      connected.clear()
    },
  }
}
