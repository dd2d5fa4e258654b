import { afterEach, expect, test } from 'vitest'
import { ask, startApp, startEdge, type App, type Edge } from './testing/edge.ts'
import { aReplica, aRevision } from './testing/routes.ts'

let edge: Edge | undefined
let app: App | undefined

afterEach(async () => {
  await edge?.close()
  await app?.close()
})

const claims = {
  'x-forwarded-for': '203.0.113.7',
  'x-forwarded-proto': 'https',
  'x-forwarded-host': 'shop.example',
  'x-forwarded-port': '443',
  'x-real-ip': '203.0.113.7',
  forwarded: 'for=203.0.113.7;proto=https',
}

/** What the app sees of `claims` behind a router with this setting. */
async function seenBehind(trustedProxies: string): Promise<Record<string, string>> {
  app = await startApp((request, response) => response.end(JSON.stringify(request.headers)))
  const revisions = [aRevision({ replicas: [aReplica('r1', app.port)] })]
  edge = await startEdge({ revisions }, { BERTH_TRUSTED_PROXIES: trustedProxies })
  return JSON.parse((await ask({ port: edge.port, headers: claims })).body) as Record<string, string>
}

test('a peer inside a trusted network is believed, and its chain goes on', async () => {
  expect(await seenBehind('10.0.0.0/8, 127.0.0.0/8')).toMatchObject({
    'x-forwarded-for': '203.0.113.7, 127.0.0.1',
    'x-forwarded-proto': 'https',
    'x-forwarded-host': 'shop.example',
    'x-forwarded-port': '443',
    'x-real-ip': '203.0.113.7',
    forwarded: 'for=203.0.113.7;proto=https, for=127.0.0.1;host="hello.localhost";proto=http',
  })
})

test('a peer outside of them is a client like any other', async () => {
  const seen = await seenBehind('10.0.0.0/8, 127.0.0.2')
  expect(seen).toMatchObject({
    'x-forwarded-for': '127.0.0.1',
    'x-forwarded-proto': 'http',
    'x-forwarded-host': 'hello.localhost',
    forwarded: 'for=127.0.0.1;host="hello.localhost";proto=http',
  })
  expect(seen['x-forwarded-port'] ?? seen['x-real-ip']).toBeUndefined()
})
