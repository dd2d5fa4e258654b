import type { NodeUid } from '@berth/contracts'
import { readNodeOnSameMachine, touchNode, writeNodeFacts, writeReachability, type Database } from '@berth/db'
import { EngineError, type ContainerRuntime } from '@berth/engine'
import type { Logger } from 'pino'
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

export type NodeCare = {
  close(): void
  /** Why nothing is rescheduled now; null normally. */
  held(): string | null
  /** Another engine may answer where this node is: it is down until that one was registered. */
  replaced(node: NodeUid): void
}

/** Pings nodes, registers those that come, and takes the replicas of those that go out of the routes at once. */
export function careForNodes(options: NodeCareOptions): NodeCare {
  const { db, term, picture, publisher, writer, engines, log } = options

  const downBecause = new Map<NodeUid, string>()
  let hold: string | null = null

  function runtimeOf({ uid }: NodeView): ContainerRuntime {
    const runtime = engines.runtime(uid)
    if (runtime === undefined) throw new EngineError('EngineUnreachable', 'the node has no usable endpoint')
    return runtime
  }

  /** A node that is ready has everything that a start needs: what could not be brought to it counts as a miss. */
  async function ping(node: NodeView): Promise<void> {
    await runtimeOf(node).ping()
    // Without Postgres nothing is brought to a node, and that says nothing about it.
    if (node.reachability === 'ready' && engines.host(node) === null && term.isFresh())
      await engines.prepare(node, term.fence)
  }

  async function register(node: NodeView): Promise<void> {
    const facts = await registerNode(runtimeOf(node), node, {
      prepare: () => engines.prepare(node, term.fence),
      checkHonesty: (runtime, { address }, sandboxImage) =>
        checkHonesty(
          runtime,
          { address },
          { installation: options.installation, sandboxImage, fence: term.fence },
        ),
      findTwin: ({ uid }, facts) => readNodeOnSameMachine(db, uid, facts),
    })
    await writeNodeFacts(db, term.lease, node.uid, facts)
    const { architecture, honestPorts } = facts
    picture.updateNode(node.uid, {
      architecture,
      honestPorts,
      cpuMillis: node.cpuMillis || facts.cpuMillis,
      memoryBytes: node.memoryBytes || facts.memoryBytes,
    })
  }

  /** With why what it held is not brought up elsewhere, if it is not. */
  function writeDown(node: NodeUid): void {
    const why = [downBecause.get(node), hold === null ? undefined : `rescheduling is on hold: ${hold}`]
    const message = why.filter((part) => part !== undefined).join('; ')
    write(node, 'down', message === '' ? null : message)
  }

  function write(node: NodeUid, reachability: NodeView['reachability'], message: string | null): void {
    writer.write(`node:${node}`, 'reachability', (db, lease) =>
      writeReachability(db, lease, node, reachability, message),
    )
  }

  function change(node: NodeView, reachability: NodeView['reachability'], message: string | null): void {
    picture.updateNode(node.uid, { reachability })
    downBecause.delete(node.uid)
    if (message !== null) downBecause.set(node.uid, message)
    if (reachability === 'ready') write(node.uid, 'ready', message)
    else writeDown(node.uid)
    const now = picture.nodes.get(node.uid) ?? node
    const there = [...picture.replicas.values()].filter(({ nodeUid }) => nodeUid === node.uid)
    if (reachability === 'down')
      for (const { id, serving } of there) if (serving) picture.updateReplica(id, { serving: false })
    // Of those that serve no more, too: routers are told whether what was sent to them is lost.
    publisher.publish([...new Set(there.map(({ serviceUid }) => serviceUid))])
    if (reachability === 'ready') options.onReady(now)
    else options.onDown(now)
  }

  const watch = startNodeWatch({
    nodes: () => [...picture.nodes.values()],
    ping,
    onReturn: register,
    onChange: change,
    onSeen(node) {
      writer.write(`node:${node.uid}`, 'seen', (db, lease) => touchNode(db, lease, node.uid))
    },
    onHold(reason) {
      hold = reason
      for (const { uid, reachability } of picture.nodes.values()) if (reachability === 'down') writeDown(uid)
    },
    log,
  })

  return {
    close: () => watch.close(),
    held: () => watch.held(),
    replaced(uid) {
      watch.forget(uid)
      const node = picture.nodes.get(uid)
      if (node?.reachability !== 'ready') return
      log.info({ node: node.name }, 'node is reached in another way')
      change(node, 'down', 'its endpoint or keys were changed')
    },
  }
}
