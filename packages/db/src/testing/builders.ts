import {
  defaultProject,
  newId,
  type NodeUid,
  type ProjectUid,
  type ReplicaId,
  type RevisionTemplate,
  type RevisionUid,
  type ServiceUid,
} from '@berth/contracts'
import { eq } from 'drizzle-orm'
import type { Executor } from '../connection.ts'
import { defaultPool } from '../migrate.ts'
import {
  hostPorts,
  nodes,
  nodeStatus,
  projects,
  replicas,
  revisions,
  services,
  serviceStatus,
} from '../schema.ts'

/*
 * Rows for tests: everything has a default, each builder takes what the test is about and answers with what it
 * wrote. Sealed columns hold an empty buffer unless the test gives one.
 */

/** One app container on port 8080 with half a core and 64 MiB. */
export function buildTemplate(change: Partial<RevisionTemplate> = {}): RevisionTemplate {
  return {
    kind: 'http',
    containers: [
      {
        name: 'app',
        image: '127.0.0.1:5050/app:1',
        command: [],
        args: [],
        ports: [{ port: 8080, protocol: 'http1' }],
        resources: { cpu: 500, memory: 64 * 1024 ** 2 },
      },
    ],
    concurrency: 80,
    timeoutSeconds: 300,
    pool: defaultPool,
    nodeSelector: {},
    ...change,
  }
}

/** The project `default`, or a new one of that name. */
export async function insertProject(db: Executor, name: string = defaultProject): Promise<ProjectUid> {
  await db
    .insert(projects)
    .values({ uid: newId('ProjectUid'), name })
    .onConflictDoNothing()
  const rows = await db.select().from(projects).where(eq(projects.name, name))
  return rowOf(rows).uid as ProjectUid
}

export async function insertService(db: Executor, change: Partial<typeof services.$inferInsert> = {}) {
  const uid = (change.uid ?? newId('ServiceUid')) as ServiceUid
  const rows = await db
    .insert(services)
    .values({
      uid,
      projectUid: change.projectUid ?? (await insertProject(db)),
      name: `app-${uid.slice(-8)}`,
      template: buildTemplate(),
      env: Buffer.alloc(0),
      minScale: 0,
      maxScale: 20,
      idle: { freezeAfterSeconds: 30, parkAfterSeconds: 900, coldAfterSeconds: 86_400 },
      traffic: [{ revision: 'latest', percent: 100, tag: null }],
      rollout: { strategy: 'immediate' },
      labels: {},
      annotations: {},
      createdBy: 'test',
      ...change,
    })
    .returning()
  await db.insert(serviceStatus).values({ serviceUid: uid })
  const row = rowOf(rows)
  return { ...row, uid, projectUid: row.projectUid as ProjectUid }
}

/** `serviceUid` of an existing service, else one is made. */
export async function insertRevision(db: Executor, change: Partial<typeof revisions.$inferInsert> = {}) {
  const uid = (change.uid ?? newId('RevisionUid')) as RevisionUid
  const serviceUid = change.serviceUid ?? (await insertService(db)).uid
  const number = change.number ?? 1
  const service = rowOf(await db.select().from(services).where(eq(services.uid, serviceUid)))
  const rows = await db
    .insert(revisions)
    .values({
      name: `${service.name}-${String(number).padStart(5, '0')}`,
      template: service.template,
      env: Buffer.alloc(0),
      contentHash: uid,
      imageRepository: '127.0.0.1:5050/app',
      imageDigest: `sha256:${'a'.repeat(64)}`,
      ...change,
      uid,
      serviceUid,
      number,
    })
    .returning()
  return { ...rowOf(rows), uid, serviceUid: serviceUid as ServiceUid }
}

/** A ready node of two cores and 4 GiB with honest ports; `status` changes what was observed. */
export async function insertNode(
  db: Executor,
  change: Partial<typeof nodes.$inferInsert> = {},
  status: Partial<typeof nodeStatus.$inferInsert> = {},
) {
  const uid = (change.uid ?? newId('NodeUid')) as NodeUid
  const rows = await db
    .insert(nodes)
    .values({
      name: `node-${uid.slice(-8)}`,
      endpoint: 'unix:///var/run/docker.sock',
      address: '127.0.0.1',
      pool: defaultPool,
      systemReservedBytes: 512 * 1024 ** 2,
      ...change,
      uid,
    })
    .returning()
  await db.insert(nodeStatus).values({
    reachability: 'ready',
    cpuMillis: 2000,
    memoryBytes: 4 * 1024 ** 3,
    architecture: 'amd64',
    honestPorts: true,
    ...status,
    nodeUid: uid,
  })
  return { ...rowOf(rows), uid }
}

/** A row as it is, without looking at what fits. Starting on rung running unless told otherwise. */
export async function insertReplica(
  db: Executor,
  change: Partial<typeof replicas.$inferInsert> & { revisionUid: string; nodeUid: string },
) {
  const id = (change.id ?? newId('ReplicaId')) as ReplicaId
  const revision = rowOf(await db.select().from(revisions).where(eq(revisions.uid, change.revisionUid)))
  const service = rowOf(await db.select().from(services).where(eq(services.uid, revision.serviceUid)))
  const node = rowOf(await db.select().from(nodes).where(eq(nodes.uid, change.nodeUid)))
  const taken = await db.select().from(hostPorts).where(eq(hostPorts.nodeUid, change.nodeUid))
  const hostPort = change.hostPort ?? Math.max(24_999, ...taken.map(({ port }) => port)) + 1
  const rows = await db
    .insert(replicas)
    .values({
      projectUid: service.projectUid,
      serviceUid: service.uid,
      address: node.address,
      cpuMillis: 500,
      memoryBytes: 64 * 1024 ** 2,
      ...change,
      id,
      hostPort,
    })
    .returning()
  await db.insert(hostPorts).values({ nodeUid: change.nodeUid, port: hostPort, replicaId: id })
  return { ...rowOf(rows), id }
}

function rowOf<Row>(rows: readonly Row[]): Row {
  const row = rows[0]
  if (row === undefined) throw new Error('the row that the test builds on is not there')
  return row
}
