import { describe, expect, inject, test } from 'vitest'
import { containersById, containersOf } from '../support/containers.ts'
import { connectPlatform } from '../support/platform.ts'
import { until } from '../support/poll.ts'

const platform = connectPlatform(inject('platform'))
const { engines, installation } = platform.connection

describe('deleting a service', () => {
  test('leaves no container, no route and no name behind', async () => {
    await platform.deploy('del-all', { minScale: 2 })
    const replicas = await until(
      async () => {
        const found = await platform.replicas('del-all')
        return found.filter(({ state }) => state === 'ready').length === 2 && found
      },
      { timeoutMs: 60_000, describe: 'two replicas to be ready' },
    )
    const made = replicas.flatMap(({ containers }) => containers.map(({ id }) => id))
    expect(made).toHaveLength(4)
    const { body } = await platform.expectApi([202], 'DELETE', '/services/del-all')
    expect(JSON.stringify(body)).toContain('Deleting')
    await platform.remove('del-all')
    await until(async () => (await containersById(engines, installation, made)).length === 0, {
      timeoutMs: 60_000,
      describe: 'the containers to be gone',
    })
    expect((await platform.request('del-all')).status).toBe(404)
    const again = await platform.deploy('del-all')
    expect(again).toMatchObject({ phase: 'succeeded', revision: 'del-all-00001' })
    await platform.remove('del-all')
  })

  test('in the middle of a deployment ends it and leaves nothing', async () => {
    const env = { START_DELAY_MS: '20000' }
    const body = { name: 'del-mid', image: platform.connection.testImage, memory: '128Mi', env }
    await platform.expectApi([202], 'POST', '/services', body)
    await until(async () => (await containersOf(engines, installation, 'del-mid')).length > 0, {
      timeoutMs: 60_000,
      describe: 'the start to be under way',
    })
    await platform.remove('del-mid')
    await until(async () => (await containersOf(engines, installation, 'del-mid')).length === 0, {
      timeoutMs: 60_000,
      describe: 'the containers to be gone',
    })
  })

  test('answers 409 to a POST of the same name while it lasts', async () => {
    await platform.deploy('del-name')
    await platform.expectApi([202], 'DELETE', '/services/del-name')
    const image = platform.connection.testImage
    const { status } = await platform.api('POST', '/services', { name: 'del-name', image })
    expect([202, 409]).toContain(status)
    await platform.remove('del-name')
  })
})
