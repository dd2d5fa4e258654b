import { afterAll, describe, expect, inject, test } from 'vitest'
import { startLoad } from '../support/load.ts'
import { connectPlatform, type ServiceBody } from '../support/platform.ts'
import { until } from '../support/poll.ts'

const platform = connectPlatform(inject('platform'))
const { testImage } = platform.connection

afterAll(async () => {
  for (const name of ['dep-first', 'dep-update', 'dep-split', 'dep-same']) await platform.remove(name)
})

type Echo = {
  service: string
  revision: string
  configuration: string
  port: string
  headers: Record<string, string>
}

describe('a first deployment', () => {
  test('goes through its phases in order and ends at a URL that answers', async () => {
    const deployment = await platform.deploy('dep-first', { env: { MESSAGE: 'hello' } })
    expect(deployment).toMatchObject({ phase: 'succeeded', revision: 'dep-first-00001' })
    const answer = await platform.waitReady('dep-first')
    expect(answer.json()).toMatchObject({
      service: 'dep-first',
      configuration: 'dep-first',
      revision: 'dep-first-00001',
      port: '8080',
      message: 'hello',
    })
    const service = await platform.service('dep-first')
    expect(service.status.conditions).toMatchObject([{ type: 'Ready', status: 'True' }])
    expect(service.url).toBe(`http://${platform.host('dep-first')}`)
  })

  test('has told every step as an event', async () => {
    const { body } = await platform.expectApi([200], 'GET', '/services/dep-first/deployments')
    const [deployment] = (body as { items: { id: string }[] }).items
    const events = await platform.events(deployment?.id ?? '')
    const phases = events.map((event) => event.phase)
    const order = [
      'queued',
      'resolving',
      'placing',
      'pulling',
      'starting',
      'probing',
      'shifting',
      'succeeded',
    ]
    expect(phases.toSorted((a, b) => order.indexOf(a) - order.indexOf(b))).toEqual(phases)
    expect(phases).toContain('placing')
    expect(phases.at(-1)).toBe('succeeded')
  })

  test('gives the app the request as the contract says', async () => {
    const answer = await platform.request('dep-first', {
      path: '/a%2Fb?x=1&x=2',
      headers: { 'x-forwarded-for': '1.2.3.4', 'x-request-id': 'mine', 'x-own': 'kept' },
    })
    const { headers, ...echo } = answer.json<Echo & { url: string }>()
    expect(echo.url).toBe('/a%2Fb?x=1&x=2')
    expect(headers).toMatchObject({
      host: platform.host('dep-first'),
      'x-own': 'kept',
      'x-forwarded-proto': 'http',
    })
    expect(headers['x-forwarded-for']).toMatch(/^(127\.0\.0\.1|::1)$/)
    expect(headers['x-forwarded-host']).toBe(platform.host('dep-first'))
    expect(headers['forwarded']).toMatch(/for=/)
    expect(headers['traceparent']).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/)
    expect(headers['x-request-id']).toBeTruthy()
  })
})

describe('an update', () => {
  test('under traffic loses no request and retires what was there', async () => {
    await platform.deploy('dep-update', { minScale: 1, env: { MESSAGE: 'one' } })
    await platform.waitReady('dep-update')
    const load = startLoad(() => platform.request('dep-update'))
    const { body } = await platform.expectApi([202], 'PATCH', '/services/dep-update', {
      env: { MESSAGE: 'two' },
    })
    const deployment = await platform.waitForDeployment((body as ServiceBody).deployment?.id ?? '')
    expect(deployment).toMatchObject({ phase: 'succeeded', revision: 'dep-update-00002' })
    await until(
      async () => (await platform.request('dep-update')).json<{ message: string }>().message === 'two',
    )
    const result = await load.stop()
    expect(result.failures).toEqual([])
    await until(
      async () =>
        (await platform.replicas('dep-update')).every((replica) => replica.revision === 'dep-update-00002'),
      { timeoutMs: 60_000, describe: 'the old replicas to be gone' },
    )
  })

  test('is rolled back to the revision before, and says so', async () => {
    await platform.expectApi([200, 202], 'POST', '/services/dep-update/rollback', {})
    await until(
      async () => (await platform.request('dep-update')).json<{ message: string }>().message === 'one',
      { timeoutMs: 60_000, describe: 'the first revision to serve again' },
    )
    const service = await platform.service('dep-update')
    expect(JSON.stringify(service.status)).toContain('dep-update-00001')
  })

  test('that changes only the scale makes no revision', async () => {
    await platform.expectApi([200, 202], 'PATCH', '/services/dep-update', { maxScale: 7 })
    const { body } = await platform.expectApi([200], 'GET', '/services/dep-update/revisions')
    expect((body as { items: unknown[] }).items).toHaveLength(2)
  })

  test('with the same image and template makes no revision', async () => {
    await platform.deploy('dep-same')
    const { body } = await platform.expectApi([202], 'PATCH', '/services/dep-same', { image: testImage })
    const deployment = await platform.waitForDeployment((body as ServiceBody).deployment?.id ?? '')
    expect(deployment).toMatchObject({ phase: 'succeeded', revision: 'dep-same-00001' })
  })
})

describe('a traffic split', () => {
  test('sends its share to each revision and gives a tag its own host', async () => {
    await platform.deploy('dep-split', { env: { MESSAGE: 'one' } })
    const { body } = await platform.expectApi([202], 'PATCH', '/services/dep-split', {
      env: { MESSAGE: 'two' },
    })
    await platform.waitForDeployment((body as ServiceBody).deployment?.id ?? '')
    await platform.expectApi([200, 202], 'PUT', '/services/dep-split/traffic', [
      { revision: 'dep-split-00001', percent: 50 },
      { revision: 'latest', percent: 50, tag: 'canary' },
    ])
    const tagged = await until(
      async () => {
        const answer = await platform.request('canary---dep-split')
        return answer.status === 200 && answer
      },
      { timeoutMs: 60_000, describe: 'the tag to answer' },
    )
    expect(tagged.json()).toMatchObject({ message: 'two' })
    const seen: Record<string, number> = {}
    for (let index = 0; index < 200; index += 1) {
      const { message } = (await platform.request('dep-split')).json<{ message: string }>()
      seen[message] = (seen[message] ?? 0) + 1
    }
    // 200 fair coins leave 60..140 once in 10^8 runs
    expect(seen['one']).toBeGreaterThan(60)
    expect(seen['two']).toBeGreaterThan(60)
  })
})
