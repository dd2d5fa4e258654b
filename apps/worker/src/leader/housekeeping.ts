import type { NodeUid } from '@berth/contracts'
import {
  collectRevisions,
  collectRows,
  deleteDepartingNode,
  forgetNodeImages,
  forgetVolume,
  readBelongings,
  readDeletedVolumes,
  readDepartingNodes,
  readNodeImageUse,
  readOwnersElsewhere,
  unusedNetworks,
  writeNodeDisk,
  type Database,
} from '@berth/db'
import { EngineError } from '@berth/engine'
import { freeRatio } from '@berth/scheduler'
import type { Logger } from 'pino'
import { measureDisk, type ReplicaDeps, type ReplicaHost } from '../replicas/index.ts'
import { removeDeletedVolumes } from './deleted-volumes.ts'
import { createDepartingNodes } from './departing-nodes.ts'
import type { Engines } from './engines.ts'
import { collectGarbage } from './garbage.ts'
import type { Term } from './leadership.ts'
import { createNodeDisks, type NodeDisks } from './node-disks.ts'
import { createNodeLanes } from './node-lanes.ts'
import type { RowWriter } from './row-writer.ts'
import { collectUnusedNetworks } from './unused-networks.ts'
import type { Picture } from './world.ts'

export type HousekeepingOptions = {
  db: Database
  installation: string
  term: Pick<Term, 'lease' | 'fence'>
  picture: Picture
  writer: RowWriter
  engines: Pick<Engines, 'runtime'>
  deps: ReplicaDeps
  /** Null while the node is not ready. */
  hostOf: (node: NodeUid) => ReplicaHost | null
  /** Whether what is in a volume of the node is being read or written. */
  transferring(node: NodeUid): boolean
  now: () => number
  log: Logger
}

/** What is cleared away after everybody else: each of these begins work that waits for no hung node. */
export type Housekeeping = {
  /** What has lost its purpose by somebody's word: networks, nodes that leave, volumes that were deleted. */
  tidy(): Promise<void>
  /** What belongs to nobody, and rows past their time. */
  collect(): Promise<void>
  /** Measures disks that are due, and frees those that are full of images. */
  watchDisks(): void | Promise<void>
  /** The disks as they were measured last. */
  disks: NodeDisks['measured']
}

export function keepHouse(options: HousekeepingOptions): Housekeeping {
  const { db, installation, picture, writer, engines, hostOf, log } = options
  const { lease, fence } = options.term
  const lanes = {
    networks: createNodeLanes('networks', log),
    volumes: createNodeLanes('volumes', log),
    garbage: createNodeLanes('garbage', log),
  }
  const departing = createDepartingNodes({
    installation,
    departing: () => readDepartingNodes(db),
    // Without its sandbox image a node is no host, and is cleaned all the same.
    runtimeOf: (uid) => (picture.nodes.get(uid)?.reachability === 'ready' ? engines.runtime(uid) : undefined),
    ownersElsewhere: (uid) => readOwnersElsewhere(db, uid),
    forget: (uid) => deleteDepartingNode(db, lease, uid),
    lanes: createNodeLanes('departure', log),
    fence,
    log,
    now: options.now,
  })
  const disks = createNodeDisks({
    nodes: () => [...picture.nodes.values()],
    runtimeOf: ({ uid }) => hostOf(uid)?.runtime,
    async measure({ uid, address }) {
      const host = hostOf(uid)
      if (host === null) throw new EngineError('EngineUnreachable', 'the node is not ready any more')
      return await measureDisk({ ...host, address }, { installation, fence })
    },
    onMeasured({ uid }, disk) {
      picture.updateNode(uid, { diskFreeRatio: freeRatio(disk) })
      writer.write(`node:${uid}`, 'disk', (db, lease) => writeNodeDisk(db, lease, uid, disk))
    },
    imageUse: (uid) => readNodeImageUse(db, uid),
    forget: (uid, digests) => forgetNodeImages(db, lease, uid, digests),
    lanes: createNodeLanes('disk', log),
    fence,
    log,
  })

  return {
    async tidy() {
      await collectUnusedNetworks({
        deps: options.deps,
        unused: () => unusedNetworks(db),
        hostOf,
        lanes: lanes.networks,
        log,
      })
      await departing.tick()
      await removeDeletedVolumes({
        installation,
        deleted: () => readDeletedVolumes(db),
        runtimeOf: (uid) => hostOf(uid)?.runtime,
        forget: (uid) => forgetVolume(db, lease, uid),
        lanes: lanes.volumes,
        fence,
        log,
      })
    },
    collect: () =>
      collectGarbage({
        installation,
        nodes: () => [...picture.nodes.values()],
        runtimeOf: ({ uid }) => engines.runtime(uid),
        belongings: ({ uid }) => readBelongings(db, uid),
        transferring: ({ uid }) => options.transferring(uid),
        async collectRows() {
          await collectRows(db, lease)
          const gone = await collectRevisions(db, lease)
          if (gone > 0) log.info({ gone }, 'revisions beyond their history collected')
        },
        lanes: lanes.garbage,
        fence,
        log,
      }),
    watchDisks: () => disks.tick(),
    disks: () => disks.measured(),
  }
}
