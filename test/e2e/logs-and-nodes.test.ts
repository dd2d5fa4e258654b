import type { NodeView } from '@berth/contracts'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { callHttp } from '../../infra/src/http-call.ts'
import { connectPlatform } from '../support/platform.ts'
import { until } from '../support/poll.ts'

const platform = connectPlatform(inject('platform'))
const { ports, token } = platform.connection
const service = 'logging'

beforeAll(async () => {
  await platform.deploy(service, { minScale: 1, env: { START_LOG: 'the first line' } })
  await platform.waitReady(service)
})
afterAll(() => platform.remove(service))

const logs = async (query = '') =>
  (
    await callHttp({
      target: { port: ports.api },
      path: `/services/${service}/logs${query}`,
      headers: { authorization: `Bearer ${token}`, accept: 'text/plain' },
      timeoutMs: 30_000,
    })
  ).body

describe('the logs of a service', () => {
  test('hold what the app printed', async () => {
    await platform.request(service, { path: '/log?line=a-line-of-mine' })
    const text = await until(
      async () => {
        const found = await logs()
        return found.includes('a-line-of-mine') && found
      },
      { describe: 'the line to be in the logs' },
    )
    expect(text).toContain('the first line')
  })

  test('are cut to the last lines that are asked for', async () => {
    await platform.request(service, { path: '/log?line=last' })
    const text = await until(
      async () => {
        const found = await logs('?tail=1')
        return found.includes('last') && found
      },
      { describe: 'the last line' },
    )
    expect(text).not.toContain('the first line')
  })
})

describe('a node', () => {
  test('says what it is and hides how it is reached securely', async () => {
    const { body } = await platform.expectApi([200], 'GET', '/nodes/a')
    expect(body).toMatchObject({
      name: 'a',
      scheduling: 'active',
      status: { reachability: 'ready', architecture: expect.stringMatching(/amd64|arm64/) as unknown },
    })
    expect(JSON.stringify(body)).not.toContain('"key"')
    const measured = await until(
      async () => {
        const { body } = await platform.expectApi([200], 'GET', '/nodes/a')
        return (body as NodeView).status.disk
      },
      { timeoutMs: 60_000, describe: 'its disk to be measured' },
    )
    expect(measured.freeBytes).toBeLessThan(measured.totalBytes)
  })

  test('is refused when it would be the same engine again', async () => {
    const { body: first } = await platform.expectApi([200], 'GET', '/nodes/a')
    const { endpoint } = first as { endpoint: string }
    const twin = { name: 'twin', endpoint, address: '127.0.0.9', capacity: { cpu: 1, memory: '1Gi' } }
    await platform.expectApi([201, 202], 'POST', '/nodes', twin)
    await until(
      async () => {
        const { body } = await platform.expectApi([200], 'GET', '/nodes/twin')
        return JSON.stringify(body).includes('the same engine is registered as node')
      },
      { timeoutMs: 60_000, describe: 'the twin to be refused' },
    )
    await platform.expectApi([200, 202, 204], 'DELETE', '/nodes/twin')
    await until(async () => (await platform.api('GET', '/nodes/twin')).status === 404, {
      timeoutMs: 60_000,
      describe: 'the twin to be gone',
    })
  })
})
