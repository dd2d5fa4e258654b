import { removeReplica } from '@berth/db'
import { createTestDatabase, type TestDatabase } from '@berth/db/testing'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest'
import { networkLabels, networkName } from './container-names.ts'
import { ensureNetworkOf, removeUnusedNetworkOf } from './project-network.ts'
import type { StartableReplica } from './replica-deps.ts'
import { startReplica } from './start-replica.ts'
import { stopReplica } from './stop-replica.ts'
import { startReplicaBench, type ReplicaBench } from './testing/replica-bench.ts'

let database: TestDatabase
let bench: ReplicaBench
let replica: StartableReplica
beforeAll(async () => {
  database = await createTestDatabase(inject('postgresUrl'))
})
afterAll(() => database.drop())
beforeEach(async () => {
  bench = await startReplicaBench(database.db)
  replica = await bench.replica()
})
afterEach(() => bench.stop())

const ensure = () => ensureNetworkOf(bench.deps, bench.host, replica)
const removeUnused = () => removeUnusedNetworkOf(bench.deps, bench.host, replica.projectUid)
const name = () => networkName(bench.deps.installation, replica.projectUid)
const onEngine = () => [...bench.engine.state.networks.values()]

/** A network of the project's name that the database knows nothing about. */
async function leftOver(labels = networkLabels(bench.deps.installation, 'default')): Promise<void> {
  await bench.host.runtime.ensureNetwork(
    { name: name(), subnet: '198.18.250.0/24', labels },
    bench.deps.fence,
  )
}

describe('the network of a project', () => {
  test('that an earlier registration has left is made anew with the subnet of now', async () => {
    await leftOver()
    expect(await ensure()).toBe(name())
    expect(onEngine()).toHaveLength(1)
    expect(onEngine()[0]?.subnet).not.toBe('198.18.250.0/24')
  })

  test('in which something still runs stays, and the start says so', async () => {
    await leftOver()
    bench.engine.fail('DELETE /networks/*', {
      status: 403,
      message: 'network has active endpoints',
      times: 1,
    })
    await expect(ensure()).rejects.toThrow(/active endpoints/)
    expect(onEngine()).toMatchObject([{ subnet: '198.18.250.0/24' }])
    expect(await ensure()).toBe(name())
  })

  test('is not taken from whoever else uses its name', async () => {
    await leftOver({})
    await expect(ensure()).rejects.toMatchObject({ code: 'NameConflict' })
    expect(onEngine()).toMatchObject([{ subnet: '198.18.250.0/24' }])
  })

  test('is removed when nothing of the project is on the node any more, and made again when needed', async () => {
    const outcome = await startReplica(bench.deps, bench.host, replica, { onPhase: () => {} })
    expect(outcome.kind).toBe('ready')
    expect(await removeUnused()).toBe(false)
    await stopReplica(bench.deps, bench.host, await bench.again(replica), { graceSeconds: 0 })
    await removeReplica(database.db, bench.lease, replica.id)
    expect(await removeUnused()).toBe(true)
    expect(onEngine()).toEqual([])

    replica = await bench.replica()
    const next = await startReplica(bench.deps, bench.host, replica, { onPhase: () => {} })
    expect(next.kind).toBe('ready')
  })

  test('that is being removed is waited for, and made anew', async () => {
    await ensure()
    await removeReplica(database.db, bench.lease, replica.id)
    bench.engine.hang('DELETE /networks/*', { times: 1 })
    const removing = removeUnused()
    await expect
      .poll(() => bench.engine.calls.some((call) => call.startsWith('DELETE /networks/')))
      .toBe(true)
    replica = await bench.replica()
    const starting = startReplica(bench.deps, bench.host, replica, { onPhase: () => {} })
    expect(await Promise.race([starting, delay(300, 'waits')])).toBe('waits')
    bench.engine.release()
    expect(await removing).toBe(true)
    expect((await starting).kind).toBe('ready')
    expect(onEngine()).toHaveLength(1)
  })
})
