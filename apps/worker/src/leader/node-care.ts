import { readNodeOnSameMachine, touchNode, writeNodeFacts, writeReachability, type Database } from '@berth/db'
import { EngineError } from '@berth/engine'
import type { Logger } from 'pino'
import { readFile } from 'node:fs/promises'
import { checkHonesty } from '../replicas/index.ts'
import type { Engines } from './engines.ts'
import type { Term } from './leadership.ts'
import { registerNode } from './node-registration.ts'
import { startNodeWatch } from './node-watch.ts'
import type { RoutePublisher } from './ports.ts'
import type { RowWriter } from './row-writer.ts'
import type { NodeView } from './world-model.ts'
import type { Picture } from './world.ts'

export type NodeCareOptions = {
  db: Database
  installation: string
  /** Path of a static busybox. */
  busybox: string
  term: Term
  picture: Picture
  publisher: Pick<RoutePublisher, 'publish'>
  writer: RowWriter
  engines: Engines
  /** A node has come (back): look at what it holds. */
  onReady(node: NodeView): void
  onDown(node: NodeView): void
  log: Logger
}

/** Pings nodes, registers those that come, and takes the replicas of those that go out of the routes at once. */
export function careForNodes(options: NodeCareOptions): { close(): void; held(): string | null } {
  const { db, term, picture, publisher, writer, engines, log } = options

  async function register(node: NodeView): Promise<void> {
    const runtime = engines.runtime(node.uid)
    if (runtime === undefined) throw new EngineError('EngineUnreachable', 'the node has no usable endpoint')
    const facts = await registerNode(runtime, node, {
      busybox: await readFile(options.busybox),
      fence: term.fence,
      checkHonesty: (runtime, { address }, sandboxImage) =>
        checkHonesty(
          runtime,
          { address },
          { installation: options.installation, sandboxImage, fence: term.fence },
        ),
      findTwin: ({ uid }, facts) => readNodeOnSameMachine(db, uid, facts),
    })
    await engines.prepare(node, term.fence)
    await writeNodeFacts(db, term.lease, node.uid, facts)
    const { architecture, honestPorts } = facts
    picture.updateNode(node.uid, {
      architecture,
      honestPorts,
      cpuMillis: node.cpuMillis || facts.cpuMillis,
      memoryBytes: node.memoryBytes || facts.memoryBytes,
    })
  }

  return startNodeWatch({
    nodes: () => [...picture.nodes.values()],
    async ping(node) {
      const runtime = engines.runtime(node.uid)
      if (runtime === undefined) throw new EngineError('EngineUnreachable', 'the node has no usable endpoint')
      await runtime.ping()
    },
    onReturn: register,
    onChange(node, reachability, message) {
      picture.updateNode(node.uid, { reachability })
      writer.write(`node:${node.uid}`, 'reachability', (db, lease) =>
        writeReachability(db, lease, node.uid, reachability, message),
      )
      const now = picture.nodes.get(node.uid) ?? node
      if (reachability === 'ready') options.onReady(now)
      else {
        const there = [...picture.replicas.values()].filter(
          ({ nodeUid, serving }) => serving && nodeUid === node.uid,
        )
        for (const { id } of there) picture.updateReplica(id, { serving: false })
        publisher.publish([...new Set(there.map(({ serviceUid }) => serviceUid))])
        options.onDown(now)
      }
    },
    onSeen(node) {
      writer.write(`node:${node.uid}`, 'seen', (db, lease) => touchNode(db, lease, node.uid))
    },
    onHold: () => undefined,
    log,
  })
}
