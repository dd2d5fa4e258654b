import { afterAll, describe, expect, inject, test } from 'vitest'
import { listContainers } from '../support/containers.ts'
import { startLoad } from '../support/load.ts'
import { connectPlatform } from '../support/platform.ts'
import { until } from '../support/poll.ts'

const platform = connectPlatform(inject('platform'))
const { engines, installation } = platform.connection

afterAll(async () => {
  for (const { name } of engines) await platform.expectApi([200, 202], 'POST', `/nodes/${name}/uncordon`)
  for (const name of ['drn-move', 'drn-stay']) await platform.remove(name)
})

const drain = (node: string, body = {}) =>
  platform.expectApi([200, 202], 'POST', `/nodes/${node}/drain`, body)

async function replicasOn(node: string): Promise<number> {
  const { body } = await platform.expectApi([200], 'GET', `/nodes/${node}`)
  return (body as { status: { replicas: number } }).status.replicas
}

const readyNodes = async (service: string) =>
  (await platform.replicas(service)).filter(({ state }) => state === 'ready').map(({ node }) => node)

describe('draining a node', () => {
  test('moves what runs there, and no request fails', async () => {
    await platform.deploy('drn-move', { minScale: 3 })
    await until(async () => new Set(await readyNodes('drn-move')).size === 3, {
      timeoutMs: 120_000,
      describe: 'a replica on each node',
    })
    const load = startLoad(() => platform.request('drn-move', { path: '/sleep?ms=50' }), { lanes: 6 })
    await drain('b')
    await until(async () => (await replicasOn('b')) === 0, {
      timeoutMs: 90_000,
      describe: 'node b to be empty',
    })
    const { sent, failures } = await load.stop()
    expect(failures).toEqual([])
    expect(sent).toBeGreaterThan(20)
    const nodes = await readyNodes('drn-move')
    expect(nodes).toHaveLength(3)
    expect(nodes).not.toContain('b')

    const engine = engines.find(({ name }) => name === 'b')
    if (engine === undefined) throw new Error('there is no engine b')
    await until(async () => (await listContainers(engine, installation)).length === 0, {
      timeoutMs: 60_000,
      describe: 'the spare sandboxes to be gone too',
    })
    await platform.expectApi([200, 202], 'POST', '/nodes/b/uncordon')
  })

  test('says why a replica stays that fits nowhere else, and goes on serving it', async () => {
    await platform.deploy('drn-stay', { minScale: 1, nodeSelector: { zone: 'c' } })
    const { body: refusal } = await platform.expectApi([409], 'POST', '/nodes/c/drain')
    expect(refusal).toMatchObject({ code: 'no-room', detail: expect.stringContaining('lacks label zone=c') })
    await drain('c', { force: true })
    const { body: drained } = await platform.expectApi([200], 'GET', '/nodes/c')
    expect(drained).toMatchObject({ drain: { moved: 0, etaSeconds: null } })
    const ready = await until(
      async () => {
        const { conditions } = (await platform.service('drn-stay')).status
        return conditions.find(({ message }) => message.includes('stays on the drained node c'))
      },
      { timeoutMs: 60_000, describe: 'the condition to say that the replica stays' },
    )
    expect(ready.status).toBe('True')
    expect(ready.message).toMatch(/lacks label zone=c/)
    expect(await replicasOn('c')).toBeGreaterThan(0)
    expect((await platform.request('drn-stay')).status).toBe(200)
    await platform.expectApi([200, 202], 'POST', '/nodes/c/uncordon')
  })
})
