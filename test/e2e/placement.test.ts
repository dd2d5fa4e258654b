import { afterAll, describe, expect, inject, test } from 'vitest'
import { connectPlatform } from '../support/platform.ts'
import { until } from '../support/poll.ts'

const platform = connectPlatform(inject('platform'))
const { engines } = platform.connection
const used = ['plc-three', 'plc-zone', 'plc-label', 'plc-memory', 'plc-cordon']

afterAll(async () => {
  for (const engine of engines) await platform.expectApi([200, 202], 'POST', `/nodes/${engine.name}/uncordon`)
  for (const name of used) await platform.remove(name)
})

const readyNodes = async (service: string) =>
  (await platform.replicas(service))
    .filter((replica) => replica.state === 'ready')
    .map((replica) => replica.node)

/** A service nothing can be placed for: its deployment waits, its condition counts the refusals. */
async function refused(name: string, spec: Record<string, unknown>): Promise<string> {
  const body = { name, image: platform.connection.testImage, memory: '128Mi', ...spec }
  await platform.expectApi([202], 'POST', '/services', body)
  const condition = await until(
    async () =>
      (await platform.service(name)).status.conditions.find((each) => each.reason === 'Unplaceable'),
    { timeoutMs: 60_000, describe: `${name} to be called unplaceable` },
  )
  const answer = await platform.request(name)
  expect([404, 503]).toContain(answer.status)
  return condition.message
}

describe('replicas of one service', () => {
  test('spread over three nodes, one of which gets the image streamed to it', async () => {
    expect(engines.filter((engine) => engine.isolated)).toHaveLength(1)
    await platform.deploy('plc-three', { minScale: 3 })
    await until(async () => new Set(await readyNodes('plc-three')).size === 3, {
      timeoutMs: 120_000,
      describe: 'a ready replica on each node',
    })
    expect(await platform.waitReady('plc-three')).toMatchObject({ status: 200 })
  })

  test('go where the node selector says', async () => {
    await platform.deploy('plc-zone', { minScale: 2, nodeSelector: { zone: 'b' } })
    await until(async () => (await readyNodes('plc-zone')).length === 2, { timeoutMs: 60_000 })
    expect(new Set(await readyNodes('plc-zone'))).toEqual(new Set(['b']))
  })

  test('stay away from a cordoned node', async () => {
    await platform.expectApi([200, 202], 'POST', '/nodes/a/cordon')
    await platform.deploy('plc-cordon', { minScale: 3 })
    await until(async () => (await readyNodes('plc-cordon')).length === 3, { timeoutMs: 90_000 })
    expect(await readyNodes('plc-cordon')).not.toContain('a')
    await platform.expectApi([200, 202], 'POST', '/nodes/a/uncordon')
  })
})

describe('a service that fits nowhere', () => {
  test('because no node has its label is told how many lack it', async () => {
    const message = await refused('plc-label', { nodeSelector: { disk: 'ssd' } })
    expect(message).toMatch(/3 nodes/)
    expect(message).toMatch(/disk/)
  })

  test('because no node has its memory is told what was asked and what is free', async () => {
    const message = await refused('plc-memory', { memory: '64Gi' })
    expect(message).toMatch(/3 nodes: memory 64Gi asked/)
    const { body } = await platform.expectApi([200], 'GET', '/services/plc-memory/deployments')
    const [deployment] = (body as { items: { id: string }[] }).items
    await platform.expectApi([200, 202], 'POST', `/deployments/${deployment?.id}/cancel`)
    const ended = await platform.waitForDeployment(deployment?.id ?? '')
    expect(ended.phase).toBe('cancelled')
    const events = await platform.events(ended.id)
    expect(events.some((event) => event.message.includes('memory 64Gi asked'))).toBe(true)
  })
})
