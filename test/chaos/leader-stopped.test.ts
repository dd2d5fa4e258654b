import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, describe, expect, inject, test } from 'vitest'
import { containersOf } from '../support/containers.ts'
import { connectPlatform } from '../support/platform.ts'
import { until } from '../support/poll.ts'

const platform = connectPlatform(inject('platform'))
const { engines, installation } = platform.connection
const names = ['zombie', 'zombie-later', 'hung-engine', 'hung-other', 'lost-node']

afterAll(async () => {
  for (const name of names) await platform.remove(name)
})

const readyReplicas = async (service: string) =>
  (await platform.replicas(service)).filter((replica) => replica.state === 'ready')

describe('a leader that is stopped for longer than its lease', () => {
  test('goes on afterwards as if it had been away: nothing twice, nothing lost', async () => {
    await platform.deploy('zombie', { minScale: 2 })
    const pid = await platform.signal('worker', 'SIGSTOP')
    await delay(7000)
    process.kill(pid, 'SIGCONT')
    expect((await platform.waitReady('zombie')).status).toBe(200)
    expect(await platform.deploy('zombie-later')).toMatchObject({ phase: 'succeeded' })
    expect(await readyReplicas('zombie')).toHaveLength(2)
    expect(await containersOf(engines, installation, 'zombie')).toHaveLength(4)
  })
})

describe('a node whose engine hangs', () => {
  test('delays no deployment on the others, and its replicas are replaced', async () => {
    const [, second] = engines
    if (!second) throw new Error('a second engine is needed')
    await platform.deploy('lost-node', { minScale: 1, nodeSelector: {} })
    process.kill(second.pid, 'SIGSTOP')
    try {
      const other = engines.find((engine) => engine.name !== second.name)?.name
      const deployment = await platform.deploy('hung-other', { nodeSelector: { zone: other } })
      expect(deployment).toMatchObject({ phase: 'succeeded' })
      await until(
        async () => {
          const { body } = await platform.expectApi([200], 'GET', `/nodes/${second.name}`)
          return (body as { status: { reachability: string } }).status.reachability === 'down'
        },
        { timeoutMs: 60_000, describe: 'the node to be down' },
      )
      await until(
        async () => (await readyReplicas('lost-node')).some((replica) => replica.node !== second.name),
        { timeoutMs: 90_000, describe: 'a replica on another node' },
      )
      expect((await platform.waitReady('lost-node')).status).toBe(200)
    } finally {
      process.kill(second.pid, 'SIGCONT')
    }
    await until(
      async () => {
        const { body } = await platform.expectApi([200], 'GET', `/nodes/${second.name}`)
        return (body as { status: { reachability: string } }).status.reachability === 'ready'
      },
      { timeoutMs: 60_000, describe: 'the node to be back' },
    )
    await until(async () => (await platform.replicas('lost-node')).length === 1, {
      timeoutMs: 90_000,
      describe: 'the surplus to be gone',
    })
  })
})
