import { newId, type ProjectUid, type ReplicaId, type RevisionTemplate } from '@berth/contracts'
import { acquireLease, readReplica, reserveReplica, type Database, type LeaseRef } from '@berth/db'
import { buildTemplate, insertNode, insertRevision } from '@berth/db/testing'
import { connectEngine, localImageName, type RegistryAccess } from '@berth/engine'
import { heldFence, startFakeEngine, type FakeEngine, type FakeEngineOptions } from '@berth/engine/testing'
import { randomInt } from 'node:crypto'
import { createImageSupply } from '../image-supply.ts'
import type { ReplicaDeps, ReplicaHost, StartableReplica } from '../replica-deps.ts'
import { replicaRows } from '../replica-rows.ts'
import { createStartGate } from '../start-gate.ts'

const digest = `sha256:${'d'.repeat(64)}`
const repository = 'acme/app'
const sandboxImage = 'berth-sandbox:test'
export const wantedImage = { imageRepository: `registry.test/${repository}`, imageDigest: digest }

/** Everything that the procedures need around one fake engine: a node, rows and a lease in a real database. */
export type ReplicaBench = {
  engine: FakeEngine
  host: ReplicaHost
  deps: ReplicaDeps
  lease: LeaseRef
  /** A reserved replica of a revision of its own. */
  replica(change?: { template?: RevisionTemplate; env?: Record<string, string> }): Promise<StartableReplica>
  /** The same replica as a later leader would read it. */
  again(replica: StartableReplica): Promise<StartableReplica>
  stop(): Promise<void>
}

const noRegistry: RegistryAccess = {
  allowedHosts: [],
  credentials: () => undefined,
  resolve: () => Promise.reject(new Error('no such host')),
}

export async function startReplicaBench(
  db: Database,
  options: FakeEngineOptions & { imagePresent?: boolean; otherEngines?: FakeEngine[] } = {},
): Promise<ReplicaBench> {
  const engine = await startFakeEngine(options)
  engine.addImage(sandboxImage)
  if (options.imagePresent !== false) engine.addImage(localImageName(repository, digest))
  const runtime = connectEngine(engine.endpoint)
  const others = (options.otherEngines ?? []).map((other) => connectEngine(other.endpoint))

  const address = `127.${randomInt(1, 250)}.${randomInt(1, 250)}.${randomInt(1, 250)}`
  const node = await insertNode(db, { address })
  const lease = await acquireLease(db, `leader-${newId('WorkerId')}`, 'test', 600_000)
  if (lease === null) throw new Error('the lease is held')
  const installation = newId('WorkerId').slice(-8)
  const host: ReplicaHost = {
    uid: node.uid,
    name: node.name,
    runtime,
    architecture: 'amd64',
    honestPorts: true,
    cpuMillis: 2000,
    sandboxImage,
    async restoreSandboxImage() {
      engine.addImage(sandboxImage)
    },
  }
  const deps: ReplicaDeps = {
    installation,
    fence: heldFence,
    rows: replicaRows(db, lease, { installation, networkCidr: '198.18.0.0/16' }),
    images: createImageSupply({ accessOf: () => noRegistry, otherRuntimes: () => others }),
    gate: createStartGate(),
  }

  return {
    engine,
    host,
    deps,
    lease,
    async replica({ template = buildTemplate(), env = {} } = {}) {
      const revision = await insertRevision(db)
      const reserved = await reserveReplica(db, lease, {
        serviceUid: revision.serviceUid,
        revisionUid: revision.uid,
        nodeUid: node.uid,
        deploymentId: null,
        cpuMillis: 50,
        memoryBytes: 1024 ** 2,
        maxReplicas: 20,
      })
      if (reserved.kind === 'refused') throw new Error(reserved.message)
      const { id, projectUid, hostPort } = reserved.replica
      return {
        id: id as ReplicaId,
        projectUid: projectUid as ProjectUid,
        project: 'default',
        service: revision.name.replace(/-\d+$/, ''),
        revision: revision.name,
        address,
        hostPort,
        template,
        ...wantedImage,
        env,
        volumes: [],
        containers: {},
      }
    },
    async again(replica) {
      const row = await readReplica(db, replica.id)
      if (row === null) throw new Error('the replica is gone')
      return { ...replica, hostPort: row.hostPort, containers: row.containers }
    },
    async stop() {
      runtime.close()
      for (const other of others) other.close()
      await engine.stop()
    },
  }
}
