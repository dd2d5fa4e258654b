import { and, eq, isNull, lte, sql } from 'drizzle-orm'
import type { Executor, Transaction } from '../connection.ts'
import { hostPorts, nodes } from '../schema.ts'

/* Ports on which replicas are published, outside the kernel's ephemeral range (design section 7). */
export const hostPortRange = { first: 20_000, last: 29_999 } as const

/** A stale route must never reach another tenant's app, so a port rests after use. */
export const portQuarantineMs = 10 * 60_000

/** When the rest of a port ends that begins now. */
export const restUntil = sql`clock_timestamp() + make_interval(secs => ${portQuarantineMs / 1000})`

type Owner = { replicaId: string } | { spareId: string }

/**
 * A free port of the node for `owner`, or undefined when all are in use or resting. The caller has locked the node's
 * row. Ports of other nodes at the same address count as taken. The search begins anywhere, so that another
 * installation on the same engine rarely picks the same one.
 */
export async function assignHostPort(
  tx: Transaction,
  nodeUid: string,
  address: string,
  owner: Owner,
): Promise<number | undefined> {
  await collectQuarantinedPorts(tx, nodeUid)
  const rows = await tx
    .select({ port: hostPorts.port })
    .from(hostPorts)
    .innerJoin(nodes, eq(nodes.uid, hostPorts.nodeUid))
    .where(eq(nodes.address, address))
  const taken = new Set(rows.map(({ port }) => port))
  const size = hostPortRange.last - hostPortRange.first + 1
  const start = Math.floor(Math.random() * size)
  for (let step = 0; step < size; step += 1) {
    const port = hostPortRange.first + ((start + step) % size)
    if (taken.has(port)) continue
    await tx.insert(hostPorts).values({ nodeUid, port, ...owner })
    return port
  }
  return undefined
}

/** A replica's ports begin their rest. */
export async function quarantinePortsOf(tx: Executor, replicaId: string): Promise<void> {
  await tx
    .update(hostPorts)
    .set({
      replicaId: null,
      spareId: null,
      quarantinedUntil: restUntil,
    })
    .where(eq(hostPorts.replicaId, replicaId))
}

/** Frees the ports whose rest is over, of one node or of all. How many they were. */
export async function collectQuarantinedPorts(db: Executor, nodeUid?: string): Promise<number> {
  const rows = await db
    .delete(hostPorts)
    .where(
      and(
        isNull(hostPorts.replicaId),
        isNull(hostPorts.spareId),
        lte(hostPorts.quarantinedUntil, sql`clock_timestamp()`),
        nodeUid === undefined ? undefined : eq(hostPorts.nodeUid, nodeUid),
      ),
    )
    .returning({ port: hostPorts.port })
  return rows.length
}
