import { randomBytes } from 'node:crypto'
import { Redis } from 'ioredis'
import { Client } from 'pg'
import { describe, expect, inject, test } from 'vitest'
import { callHttp } from '../../infra/src/http-call.ts'
import { containersById, containersOf } from '../support/containers.ts'
import type { EngineConnection } from '../support/engines.ts'
import { connectPlatform } from '../support/platform.ts'
import { until } from '../support/poll.ts'

const platform = connectPlatform(inject('platform'))
const { engines, installation, databaseUrl, redisUrl } = platform.connection

async function createProject(name: string): Promise<string> {
  const { body } = await platform.expectApi([201], 'POST', '/projects', { name })
  return (body as { uid: string }).uid
}

async function readyReplicas(service: string): Promise<string[]> {
  const { body } = await platform.expectApi([200], 'GET', `${service}/replicas`)
  const { items } = body as { items: { id: string; state: string }[] }
  return items.filter(({ state }) => state === 'ready').map(({ id }) => id)
}

/** What engines, database and queue still hold of a service and of the project that it was alone in. */
async function leftOf(gone: { project: string; service: string; replicas: readonly string[] }) {
  const client = new Client(databaseUrl)
  const redis = new Redis(redisUrl)
  await client.connect()
  const query = async (text: string, value: unknown) => (await client.query<object>(text, [value])).rows
  try {
    const networks = await Promise.all(engines.map((engine) => networkNames(engine, gone.project)))
    const keys = await redis.keys('*')
    const values = await Promise.all(keys.map(async (key) => `${key} ${await textOf(redis, key)}`))
    return {
      networks: networks.flat(),
      networkRows: await query('select * from project_networks where project_uid = $1', gone.project),
      spares: await query('select id from spare_sandboxes where project_uid = $1', gone.project),
      replicas: await query('select id from replicas where service_uid = $1', gone.service),
      ports: await query('select port from host_ports where replica_id = any($1)', gone.replicas),
      leases: await query('select name from leases where name = $1', `service:${gone.service}`),
      jobs: values.filter((text) => text.includes(gone.service)),
    }
  } finally {
    redis.disconnect()
    await client.end()
  }
}

/** A key of the queue as text, whatever it is made of. */
async function textOf(redis: Redis, key: string): Promise<string> {
  const type = await redis.type(key)
  if (type === 'hash') return JSON.stringify(await redis.hgetall(key))
  if (type === 'list') return JSON.stringify(await redis.lrange(key, 0, -1))
  if (type === 'zset') return JSON.stringify(await redis.zrange(key, 0, '-1'))
  if (type === 'set') return JSON.stringify(await redis.smembers(key))
  return type === 'string' ? ((await redis.get(key)) ?? '') : ''
}

async function networkNames(engine: EngineConnection, project: string): Promise<string[]> {
  const { socketPath } = engine
  const answer = await callHttp({
    target: { socketPath },
    method: 'GET',
    path: '/networks',
    timeoutMs: 20_000,
  })
  const networks = JSON.parse(answer.body) as { Name: string }[]
  return networks.map(({ Name }) => Name).filter((name) => name.includes(project))
}

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

  test('leaves no network, no row in use and no job of a project that had nothing else', async () => {
    const project = `p-${randomBytes(3).toString('hex')}`
    const own = `/projects/${project}/services`
    const uid = await createProject(project)
    const { body } = await platform.expectApi([202], 'POST', own, {
      name: 'del-own',
      image: platform.connection.testImage,
      memory: '128Mi',
      minScale: 2,
    })
    const service = (body as { uid: string }).uid
    const replicas = await until(
      async () => {
        const ready = await readyReplicas(`${own}/del-own`)
        return ready.length === 2 && ready
      },
      { timeoutMs: 60_000, describe: 'two replicas to be ready' },
    )
    const before = await leftOf({ project: uid, service, replicas })
    expect(before.networks).not.toEqual([])
    expect(before.ports).toHaveLength(2)

    await platform.expectApi([202], 'DELETE', `${own}/del-own`)
    await until(
      async () => {
        const left = await leftOf({ project: uid, service, replicas })
        if (Object.values(left).flat().length > 0) throw new Error(JSON.stringify(left))
        return true
      },
      { timeoutMs: 90_000, intervalMs: 500, describe: 'nothing to be left' },
    )
    await platform.expectApi([200, 202, 204], 'DELETE', `/projects/${project}`)
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
