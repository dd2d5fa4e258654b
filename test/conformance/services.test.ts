import { randomBytes } from 'node:crypto'
import { afterAll, describe, expect, inject, test } from 'vitest'
import { connectPlatform, type ServiceBody } from '../support/platform.ts'
import { until } from '../support/poll.ts'

const platform = connectPlatform(inject('platform'))
const { testImage } = platform.connection
const used = [
  'cnf-race',
  'cnf-patches',
  'cnf-again',
  'cnf-twin',
  'cnf-labels',
  'cnf-http',
  'cnf-tcp',
  'cnf-unready',
]
const project = `cnf-${randomBytes(3).toString('hex')}`

afterAll(async () => {
  await Promise.all(used.map((name) => platform.remove(name)))
  await until(
    async () => [204, 404].includes((await platform.api('DELETE', `/projects/${project}`)).status),
    { timeoutMs: 60_000, describe: 'the project to be deleted' },
  )
})

const specOf = (name: string, more: Record<string, unknown> = {}) => ({
  name,
  image: testImage,
  memory: '128Mi',
  ...more,
})

async function revisionsOf(service: string): Promise<string[]> {
  const { body } = await platform.expectApi([200], 'GET', `/services/${service}/revisions`)
  return (body as { items: { name: string }[] }).items.map(({ name }) => name)
}

/** What the app was told, as its URL answers. */
const messageAt = async (service: string) =>
  (await platform.waitReady(service)).json<{ message: string | null }>().message

describe.concurrent('creating', () => {
  test('five times at once under one name makes one service, and four are told that it exists', async () => {
    const posts = Array.from({ length: 5 }, () => platform.api('POST', '/services', specOf('cnf-race')))
    const answers = await Promise.all(posts)
    expect(answers.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([202, 409, 409, 409, 409])
    const made = answers.find(({ status }) => status === 202)?.body as ServiceBody
    expect(await platform.waitForDeployment(made.deployment?.id ?? '')).toMatchObject({ phase: 'succeeded' })
    expect(await revisionsOf('cnf-race')).toEqual(['cnf-race-00001'])
  })

  test('under the name of a deleted service starts anew: another uid, revision 1, nothing of the old', async () => {
    const uidOf = async () => ((await platform.service('cnf-again')) as unknown as { uid: string }).uid
    await platform.deploy('cnf-again', { env: { MESSAGE: 'old' } })
    const before = await uidOf()
    await platform.remove('cnf-again')
    expect(await platform.deploy('cnf-again')).toMatchObject({ revision: 'cnf-again-00001' })
    expect(await messageAt('cnf-again')).toBeNull()
    expect(await uidOf()).not.toBe(before)
    expect(await revisionsOf('cnf-again')).toEqual(['cnf-again-00001'])
  })

  test('one name in two projects makes two services that do not touch each other', async () => {
    await platform.expectApi([201], 'POST', '/projects', { name: project })
    const own = `/projects/${project}/services`
    await Promise.all([
      platform.deploy('cnf-twin', { env: { MESSAGE: 'of default' } }),
      platform.expectApi([202], 'POST', own, specOf('cnf-twin', { env: { MESSAGE: 'of the project' } })),
    ])
    const twin = `cnf-twin--${project}`
    expect(await messageAt(twin)).toBe('of the project')
    await platform.expectApi([202], 'DELETE', `${own}/cnf-twin`)
    await until(async () => (await platform.api('GET', `${own}/cnf-twin`)).status === 404, {
      timeoutMs: 60_000,
      describe: 'the twin to be deleted',
    })
    expect((await platform.request(twin)).status).toBe(404)
    expect(await messageAt('cnf-twin')).toBe('of default')
  })
})

describe.concurrent('changing', () => {
  test('labels and annotations makes no revision, and the status follows the generation', async () => {
    await platform.deploy('cnf-labels')
    const { generation } = await platform.service('cnf-labels')
    const patch = { labels: { team: 'blue' }, annotations: { note: 'kept' } }
    await platform.expectApi([202], 'PATCH', '/services/cnf-labels', patch)
    const service = await until(
      async () => {
        const found = await platform.service('cnf-labels')
        return found.status.observedGeneration === generation + 1 && found
      },
      { describe: 'the change to be observed' },
    )
    expect(service).toMatchObject({ ...patch, status: { conditions: [{ status: 'True' }] } })
    expect(await revisionsOf('cnf-labels')).toEqual(['cnf-labels-00001'])
  })

  test('a template ten times at once ends with the newest revision serving and ready', async () => {
    await platform.deploy('cnf-patches')
    const patches = Array.from({ length: 10 }, (_, index) =>
      platform.expectApi([202], 'PATCH', '/services/cnf-patches', { env: { MESSAGE: String(index) } }),
    )
    await Promise.all(patches)
    const { deployment, ...service } = await platform.service('cnf-patches')
    expect(service.generation).toBe(11)
    const ended = await platform.waitForDeployment(deployment?.id ?? '')
    expect(ended).toMatchObject({ phase: 'succeeded' })
    const { status } = await platform.service('cnf-patches')
    expect(status.latestReadyRevision).toBe(ended.revision)
    const { body } = await platform.expectApi([200], 'GET', '/services/cnf-patches')
    const { env } = body as { env: { MESSAGE: string } }
    await until(async () => (await messageAt('cnf-patches')) === env.MESSAGE, {
      describe: 'the newest revision to answer',
    })
  })
})

describe.concurrent('a readiness probe', () => {
  test('by HTTP, with a path and a query, holds the traffic until it succeeds', async () => {
    const readinessProbe = { httpGet: { path: '/healthz?by=probe' }, periodSeconds: 1 }
    const env = { READY_AFTER_MS: '2000' }
    const deployment = await platform.deploy('cnf-http', { env, readinessProbe })
    expect(deployment).toMatchObject({ phase: 'succeeded' })
    // The app listens at once, and here it would answer 503 before its time.
    expect((await platform.request('cnf-http', { path: '/healthz' })).status).toBe(200)
  })

  test('by TCP holds the traffic until it succeeds', async () => {
    const readinessProbe = { tcpSocket: {}, periodSeconds: 1 }
    const env = { START_DELAY_MS: '1500' }
    const deployment = await platform.deploy('cnf-tcp', { env, readinessProbe })
    expect(deployment).toMatchObject({ phase: 'succeeded' })
    expect((await platform.request('cnf-tcp')).status).toBe(200)
  })

  test('that never succeeds fails the first deployment, with what was asked and answered', async () => {
    const startupProbe = { httpGet: { path: '/status?code=500' }, periodSeconds: 1, failureThreshold: 1 }
    const deployment = await platform.deploy('cnf-unready', { startupProbe })
    expect(deployment).toMatchObject({ phase: 'failed', reason: 'ProbeFailed' })
    expect(deployment.message).toContain('GET /status?code=500: status 500')
    const condition = await until(
      async () => {
        const [found] = (await platform.service('cnf-unready')).status.conditions
        return found?.status === 'False' && found
      },
      { describe: 'the condition to be False' },
    )
    expect(condition.reason).toBe('ProbeFailed')
  })
})
