import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, describe, expect, inject, test } from 'vitest'
import { connectPlatform } from '../support/platform.ts'
import { until } from '../support/poll.ts'
import { waitUntilSettled } from './settled.ts'

const platform = connectPlatform(inject('platform'))
const { engines } = platform.connection
const names = ['zombie', 'zombie-later', 'hung-other', 'lost-node']

afterAll(async () => {
  for (const name of names) await platform.remove(name)
})

const readyReplicas = async (service: string) =>
  (await platform.replicas(service)).filter((replica) => replica.state === 'ready')

const waitUntilNodeIs = (name: string, wanted: 'ready' | 'down') =>
  until(
    async () => {
      const { body } = await platform.expectApi([200], 'GET', `/nodes/${name}`)
      return (body as { status: { reachability: string } }).status.reachability === wanted
    },
    { timeoutMs: 60_000, describe: `node ${name} to be ${wanted}` },
  )

describe('a leader that is stopped for longer than its lease', () => {
  test('goes on afterwards as if it had been away: nothing twice, nothing lost', async () => {
    await platform.deploy('zombie', { minScale: 2 })
    const pid = await platform.signal('worker', 'SIGSTOP')
    // A lease is lost after 5 s.
    await delay(7000)
    process.kill(pid, 'SIGCONT')
    expect((await platform.waitReady('zombie')).status).toBe(200)
    expect(await platform.deploy('zombie-later')).toMatchObject({ phase: 'succeeded' })
    await waitUntilSettled(platform, 'zombie', { count: 2 })
  })
})

describe('a node whose engine hangs', () => {
  test('delays no deployment on the others, and its replicas are replaced', async () => {
    await platform.deploy('lost-node', { minScale: 1 })
    const [replica] = await readyReplicas('lost-node')
    const hung = engines.find(({ name }) => name === replica?.node)
    const other = engines.find(({ name }) => name !== replica?.node)
    if (!hung || !other) throw new Error('the replica runs on no known engine')
    process.kill(hung.pid, 'SIGSTOP')
    try {
      const deployment = await platform.deploy('hung-other', { nodeSelector: { zone: other.name } })
      expect(deployment).toMatchObject({ phase: 'succeeded' })
      await waitUntilNodeIs(hung.name, 'down')
      await until(
        async () => {
          const replicas = await readyReplicas('lost-node')
          return replicas.length === 1 && replicas[0]?.node !== hung.name
        },
        { timeoutMs: 90_000, describe: 'one ready replica, on another node' },
      )
      expect((await platform.waitReady('lost-node')).status).toBe(200)
    } finally {
      process.kill(hung.pid, 'SIGCONT')
    }
    await waitUntilNodeIs(hung.name, 'ready')
    await waitUntilSettled(platform, 'lost-node', { count: 1 })
  })
})
