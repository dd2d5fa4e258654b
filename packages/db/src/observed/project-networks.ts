import type { NodeUid, ProjectUid } from '@berth/contracts'
import { and, eq, sql } from 'drizzle-orm'
import { withTransaction, type Executor } from '../connection.ts'
import { leaseHeld, requireLease, type LeaseRef } from '../leases.ts'
import { projectNetworks, replicas, spareSandboxes } from '../schema.ts'
import { freeSubnet } from './subnets.ts'

export type ProjectNetworkRow = typeof projectNetworks.$inferSelect

/** `BERTH_NETWORK_CIDR` has no subnet left. */
export class SubnetsExhaustedError extends Error {
  constructor(cidr: string) {
    super(`no subnet is left in ${cidr}: set BERTH_NETWORK_CIDR to a larger block`)
    this.name = 'SubnetsExhaustedError'
  }
}

/**
 * The network of a project on a node, made when there is none. Its subnet is unique over all nodes and none of
 * `avoid` (those that the engine said are used by somebody else). Throws `SubnetsExhaustedError`.
 */
export async function ensureProjectNetwork(
  db: Executor,
  lease: LeaseRef,
  wanted: {
    nodeUid: string
    projectUid: string
    name: string
    cidr: string
    avoid?: readonly string[]
  },
): Promise<ProjectNetworkRow> {
  const { nodeUid, projectUid, name, cidr, avoid = [] } = wanted
  const mine = and(eq(projectNetworks.nodeUid, nodeUid), eq(projectNetworks.projectUid, projectUid))
  const known = (await db.select().from(projectNetworks).where(mine))[0]
  if (known !== undefined && !avoid.includes(known.subnet)) return known
  return withTransaction(db, async (tx) => {
    await requireLease(tx, lease)
    await tx.execute(sql`select pg_advisory_xact_lock(hashtextextended('project-networks', 0))`)
    const rows = await tx.select().from(projectNetworks)
    const found = rows.find((row) => row.nodeUid === nodeUid && row.projectUid === projectUid)
    if (found !== undefined && !avoid.includes(found.subnet)) return found
    const subnet = freeSubnet(cidr, [...rows.map((row) => row.subnet), ...avoid])
    if (subnet === undefined) throw new SubnetsExhaustedError(cidr)
    await tx.delete(projectNetworks).where(mine)
    const made = await tx.insert(projectNetworks).values({ nodeUid, projectUid, subnet, name }).returning()
    if (made[0] === undefined) throw new Error('an inserted network was not returned')
    return made[0]
  })
}

/** Networks of projects that have neither a replica nor a spare sandbox on the node. */
export async function unusedNetworks(db: Executor): Promise<{ nodeUid: NodeUid; projectUid: ProjectUid }[]> {
  const { nodeUid, projectUid } = projectNetworks
  const rows = await db.select({ nodeUid, projectUid }).from(projectNetworks).where(isUnused)
  return rows as { nodeUid: NodeUid; projectUid: ProjectUid }[]
}

/**
 * Before the engine removes it: whoever needs one from now on makes it anew. Its name, or null when it is in use
 * (again). No effect when the lease is lost.
 */
export async function forgetUnusedNetwork(
  db: Executor,
  lease: LeaseRef,
  nodeUid: string,
  projectUid: string,
): Promise<string | null> {
  const rows = await db
    .delete(projectNetworks)
    .where(
      and(
        eq(projectNetworks.nodeUid, nodeUid),
        eq(projectNetworks.projectUid, projectUid),
        isUnused,
        leaseHeld(lease),
      ),
    )
    .returning({ name: projectNetworks.name })
  return rows[0]?.name ?? null
}

/**
 * A replica counts in every state: what a failed one has left may still be joined to the network. Spelt out, since
 * drizzle leaves the table off where a statement is about one only.
 */
const isUnused = sql`not exists (
    select 1 from ${replicas} r
    where r.node_uid = project_networks.node_uid and r.project_uid = project_networks.project_uid)
  and not exists (
    select 1 from ${spareSandboxes} s
    where s.node_uid = project_networks.node_uid and s.project_uid = project_networks.project_uid)`
