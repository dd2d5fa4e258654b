import { Client } from 'pg'
import { listContainers } from '../support/containers.ts'
import type { Platform } from '../support/platform.ts'
import { until } from '../support/poll.ts'

/** How long after a fault is over everything may take to be as it should be (issue 2, "Must hold"). */
export const settledWithinMs = 15_000

/**
 * Waits until a service is exactly `count` ready replicas, and the engines hold exactly what belongs to somebody:
 * per replica its app and its sandbox, no other app of the service, no sandbox that is neither a replica's nor a
 * known spare. Rejects with what was left over.
 */
export async function waitUntilSettled(
  platform: Platform,
  service: string,
  wanted: { count: number; revision?: string | null },
): Promise<void> {
  let rest = ''
  await until(
    async () => {
      rest = await whatIsWrong(platform, service, wanted)
      if (rest !== '') throw new Error(rest)
      return true
    },
    { timeoutMs: 90_000, intervalMs: 200, describe: `${service} to be exactly ${wanted.count} replicas` },
  )
}

async function whatIsWrong(
  platform: Platform,
  service: string,
  { count, revision }: { count: number; revision?: string | null },
): Promise<string> {
  const { engines, installation, databaseUrl } = platform.connection
  const replicas = (await platform.replicas(service)).filter(({ state }) => state !== 'failed')
  const right = replicas.filter(
    (replica) => replica.state === 'ready' && (revision ?? replica.revision) === replica.revision,
  )
  if (replicas.length !== count || right.length !== count)
    return `replicas: ${replicas.map((each) => `${each.id} ${each.revision} ${each.state}`).join(', ')}`
  const held = (await Promise.all(engines.map((engine) => listContainers(engine, installation)))).flat()
  const known = replicas.flatMap(({ containers }) => containers.map(({ id }) => id))
  const missing = known.filter((id) => !held.some(({ Id }) => Id === id))
  if (known.length !== count * 2 || missing.length > 0)
    return `${known.length} known, missing: ${missing.join()}`
  const owners = await readOwners(databaseUrl)
  const surplus = held
    .filter(({ Id }) => !known.includes(Id))
    .filter(({ Labels: labels }) =>
      labels['berth.role'] === 'sandbox'
        ? !owners.has(labels['berth.replica'] ?? '')
        : labels['berth.service'] === service,
    )
  return surplus.map(({ Names, State }) => `${Names.join()} is ${State}`).join(', ')
}

/** Replicas and spare sandboxes that have a row. */
async function readOwners(databaseUrl: string): Promise<ReadonlySet<string>> {
  const client = new Client(databaseUrl)
  await client.connect()
  try {
    const { rows } = await client.query<{ id: string }>(
      "select id from replicas where state <> 'failed' union select id from spare_sandboxes",
    )
    return new Set(rows.map(({ id }) => id))
  } finally {
    await client.end()
  }
}
