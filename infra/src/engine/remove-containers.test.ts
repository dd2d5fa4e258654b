import { createServer } from 'node:http'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { directTarget, removeContainers } from './remove-containers.ts'

test('apps go before the sandboxes that they live in, each continued, stopped and removed', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'berth-rm-'))
  const socketPath = join(folder, 's')
  const seen: string[] = []
  const containers = [
    { Id: 'sandbox1', Labels: { 'berth.role': 'sandbox' } },
    { Id: 'app1', Labels: { 'berth.role': 'app' } },
  ]
  const server = createServer((request, response) => {
    const url = decodeURIComponent(request.url ?? '')
    if (url.includes('/containers/json')) {
      seen.push(/filters=(.*)$/.exec(url)?.[1] ?? '')
      response.end(JSON.stringify(containers))
      return
    }
    seen.push(`${request.method} ${url.replace(/^\/v1\.41\/containers\//, '').replace(/\?.*/, '')}`)
    response.writeHead(204).end()
  })
  await new Promise<void>((resolve) => server.listen(socketPath, resolve))
  try {
    expect(await removeContainers({ socketPath }, '0a1b2c3d')).toBe(2)
    expect(seen).toEqual([
      '{"label":["berth.installation=0a1b2c3d"]}',
      'POST app1/unpause',
      'POST app1/stop',
      'DELETE app1',
      'POST sandbox1/unpause',
      'POST sandbox1/stop',
      'DELETE sandbox1',
    ])
  } finally {
    await new Promise((resolve) => server.close(resolve))
    await rm(folder, { recursive: true, force: true })
  }
})

test('an engine that is away has nothing to remove', async () => {
  expect(await removeContainers({ socketPath: '/nonexistent/docker.sock' }, '0a1b2c3d')).toBe(0)
})

test.each([
  ['unix:///var/run/docker.sock', { socketPath: '/var/run/docker.sock' }],
  ['tcp://127.0.0.2:2375', { host: '127.0.0.2', port: 2375 }],
  ['tcp://10.0.0.7:2376', undefined],
])('%s', (endpoint, target) => {
  expect(directTarget(endpoint)).toEqual(target)
})
