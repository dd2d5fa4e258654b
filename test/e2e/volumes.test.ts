import { once } from 'node:events'
import { request, type IncomingMessage } from 'node:http'
import { buffer } from 'node:stream/consumers'
import { afterAll, describe, expect, inject, test } from 'vitest'
import { listVolumes } from '../support/containers.ts'
import { startLoad } from '../support/load.ts'
import { connectPlatform } from '../support/platform.ts'
import { until } from '../support/poll.ts'

const platform = connectPlatform(inject('platform'))
const { engines, installation, ports, token } = platform.connection

const services = ['vol-keep', 'vol-crash', 'vol-first', 'vol-next', 'vol-copy']
const volumes = ['keep', 'crash', 'handed-on', 'restored']
afterAll(async () => {
  for (const name of services) await platform.remove(name)
  for (const name of volumes) await platform.expectApi([202, 404], 'DELETE', `/volumes/${name}`)
})

const mounting = (name: string) => ({ maxScale: 1, volumes: [{ name, mountPath: '/data' }] })
const file = '/file?path=/data/note'

const write = (service: string, body: string) =>
  platform.request(service, { method: 'POST', path: file, body })
const read = async (service: string) => (await platform.request(service, { path: file })).text()

/** On how many nodes there is something of the volume. */
async function placesOf(uid: string): Promise<number> {
  const lists = await Promise.all(engines.map((engine) => listVolumes(engine, installation)))
  return lists.flat().filter((name) => name.endsWith(uid)).length
}

/** A backup, or with a tar the volume that is made from it on the last of the nodes. */
async function archive(method: 'GET' | 'PUT', name: string, tar?: Buffer) {
  const query = tar === undefined ? '' : `?node=${engines.at(-1)?.name}`
  const asked = request({
    host: '127.0.0.1',
    port: ports.api,
    method,
    path: `/volumes/${name}/archive${query}`,
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/x-tar' },
  })
  asked.end(tar)
  const [answer] = (await once(asked, 'response')) as [IncomingMessage]
  return { status: answer.statusCode, body: await buffer(answer) }
}

describe('a volume', () => {
  test('keeps its files over deployments, which never run two apps on it and lose no request', async () => {
    // A second app beside the first would find the lock and fail its deployment.
    const env = { LOCK: '/data/lock' }
    expect(await platform.deploy('vol-keep', { ...mounting('keep'), env })).toMatchObject({
      phase: 'succeeded',
    })
    expect((await write('vol-keep', 'remember me')).status).toBe(200)
    const load = startLoad(() => platform.request('vol-keep', { path: '/sleep?ms=20' }), { lanes: 4 })
    for (const round of ['1', '2', '3']) {
      const { body } = await platform.expectApi([202], 'PATCH', '/services/vol-keep', {
        env: { ...env, ROUND: round },
      })
      const { deployment } = body as { deployment: { id: string } }
      expect(await platform.waitForDeployment(deployment.id)).toMatchObject({ phase: 'succeeded' })
    }
    const { sent, failures } = await load.stop()
    expect(failures).toEqual([])
    expect(sent).toBeGreaterThan(50)
    expect(await read('vol-keep')).toBe('remember me')
    expect(new Set((await platform.replicas('vol-keep')).map(({ node }) => node)).size).toBe(1)
  })

  test('is there for whoever replaces a replica that crashed', async () => {
    await platform.deploy('vol-crash', { ...mounting('crash'), minScale: 1 })
    await write('vol-crash', 'survived')
    await platform.request('vol-crash', { path: '/crash' }).catch(() => undefined)
    await until(async () => (await read('vol-crash')) === 'survived', {
      timeoutMs: 60_000,
      describe: 'the file to be there again',
    })
  })

  test('outlives its service, goes to the next that names it, can be copied, and is deleted with its data', async () => {
    await platform.deploy('vol-first', mounting('handed-on'))
    await write('vol-first', 'from the first')
    const { body } = await platform.expectApi([200], 'GET', '/volumes/handed-on')
    const { uid } = body as { uid: string }
    expect(await placesOf(uid)).toBe(1)
    await platform.remove('vol-first')
    await platform.deploy('vol-next', mounting('handed-on'))
    expect(await read('vol-next')).toBe('from the first')
    const tar = await archive('GET', 'handed-on')
    expect(tar.status).toBe(200)
    const copied = await archive('PUT', 'restored', tar.body)
    expect([copied.status, copied.body.toString()]).toEqual([201, expect.stringContaining('"restored"')])
    await platform.deploy('vol-copy', mounting('restored'))
    expect(await read('vol-copy')).toBe('from the first')
    expect((await platform.api('DELETE', '/volumes/handed-on')).status).toBe(409)
    await platform.remove('vol-next')
    await platform.expectApi([202], 'DELETE', '/volumes/handed-on')
    await until(async () => (await platform.api('GET', '/volumes/handed-on')).status === 404, {
      timeoutMs: 60_000,
      describe: 'the volume to be gone',
    })
    expect(await placesOf(uid)).toBe(0)
  })
})
