import { once } from 'node:events'
import { afterEach, expect, test } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import type { HostRoute } from '@berth/contracts'
import { ask, eventually, startApp, startEdge, type Answer, type App, type Edge } from './testing/edge.ts'
import { aHost, aReplica, aRevision } from './testing/routes.ts'

let edge: Edge | undefined
const apps: App[] = []

afterEach(async () => {
  await edge?.close()
  edge = undefined
  await Promise.all(apps.splice(0).map((app) => app.close()))
})

/** Answers with its name and the cookies that it was sent. */
async function anApp(name: string, headers: Record<string, string | string[]> = {}): Promise<number> {
  const app = await startApp((request, response) => {
    const { rawHeaders } = request
    const cookies = rawHeaders.filter((_, index) => rawHeaders[index - 1]?.toLowerCase() === 'cookie')
    response.writeHead(200, headers)
    response.end(`${name} ${JSON.stringify(cookies)}`)
  })
  apps.push(app)
  return app.port
}

/** One revision with the replicas `a`, `b` and `c`, each an app of its own, and clients that come back. */
async function threeReplicas(host: Partial<HostRoute> = { affinity: 'cookie' }): Promise<Edge> {
  const replicas = await Promise.all(['a', 'b', 'c'].map(async (id) => aReplica(id, await anApp(id))))
  edge = await startEdge({ hosts: [aHost(host)], revisions: [aRevision({ replicas })] })
  return edge
}

/** The cookie of an answer as a browser would send it back. */
function cookieOf(answer: Answer): string {
  const [set] = answer.headers['set-cookie'] ?? []
  if (set === undefined) throw new Error('the answer sets no cookie')
  return set.split(';', 1)[0] ?? ''
}

const who = ({ body }: Answer) => body.split(' ', 1)[0]

test('a client comes back to the replica that answered it, and is told once', async () => {
  const { port } = await threeReplicas()
  const clients = await Promise.all(['one', 'two', 'three', 'four'].map(() => ask({ port })))
  for (const first of clients) {
    const cookie = cookieOf(first)
    for (let again = 0; again < 10; again += 1) {
      const answer = await ask({ port, headers: { cookie } })
      expect(who(answer)).toBe(who(first))
      expect(answer.headers).not.toHaveProperty('set-cookie')
    }
  }
})

test('the cookie is for this host, for no script and no shared cache', async () => {
  const { port } = await threeReplicas()
  const { headers } = await ask({ port })
  expect(headers['set-cookie']).toEqual([
    expect.stringMatching(/^BERTH_AFFINITY=[\w.-]{45}; Path=\/; HttpOnly; SameSite=Lax$/),
  ])
  expect(headers['cache-control']).toBe('private')
})

test('cookies that the app sets go out beside it', async () => {
  const port = await anApp('a', { 'set-cookie': ['x=1', 'y=2'] })
  const replicas = [aReplica('a', port)]
  edge = await startEdge({ hosts: [aHost({ affinity: 'cookie' })], revisions: [aRevision({ replicas })] })
  const { headers } = await ask({ port: edge.port })
  expect(headers['set-cookie']).toEqual(['x=1', 'y=2', expect.stringMatching(/^BERTH_AFFINITY=/)])
})

test('the app sees its own cookies as they were sent, and not ours', async () => {
  const { port } = await threeReplicas()
  const cookie = cookieOf(await ask({ port }))
  const sent = { cookie: `a="x y";  ${cookie}; B=%41=` }
  expect((await ask({ port, headers: sent })).body).toMatch(/ \["a=\\"x y\\"; B=%41="\]$/)
  expect((await ask({ port, headers: { cookie } })).body).toMatch(/ \[\]$/)
})

test('a client whose replica is gone is balanced like any other, and told anew', async () => {
  const running = await threeReplicas()
  const first = await ask({ port: running.port })
  const cookie = cookieOf(first)
  const left = ['a', 'b', 'c'].filter((id) => id !== who(first))
  const others = await Promise.all(left.map(async (id) => aReplica(`${id}2`, await anApp(id))))
  running.change(aRevision({ replicas: others }))
  const moved = await eventually(async () => {
    const answer = await ask({ port: running.port, headers: { cookie } })
    return who(answer) !== who(first) && answer
  })
  const again = await ask({ port: running.port, headers: { cookie: cookieOf(moved) } })
  expect(who(again)).toBe(who(moved))
  expect(again.headers).not.toHaveProperty('set-cookie')
})

test('a client stays with its revision while that has any traffic, and no longer', async () => {
  const [one, two] = await Promise.all([anApp('one'), anApp('two')])
  const revisions = [
    aRevision({ uid: 'rev-1', replicas: [aReplica('a', one)] }),
    aRevision({ uid: 'rev-2', replicas: [aReplica('b', two)] }),
  ]
  const split = (first: number) => [
    aHost({
      affinity: 'cookie',
      targets: [
        { revision: 'rev-1', percent: first },
        { revision: 'rev-2', percent: 100 - first },
      ],
    }),
  ]
  const running = await startEdge({ hosts: split(100), revisions })
  edge = running
  const headers = { cookie: cookieOf(await ask({ port: running.port })) }
  running.publish({ hosts: split(1) })
  await eventually(async () => who(await ask({ port: running.port })) === 'two')
  for (let again = 0; again < 20; again += 1)
    expect(who(await ask({ port: running.port, headers }))).toBe('one')
  running.publish({ hosts: split(0) })
  const moved = await eventually(async () => {
    const answer = await ask({ port: running.port, headers })
    return who(answer) === 'two' && answer
  })
  expect(cookieOf(moved)).not.toBe(headers.cookie)
})

test('a WebSocket comes back too', async () => {
  const app = await startApp((_request, response) => response.end('plain'))
  apps.push(app)
  const sockets = new WebSocketServer({ server: app.server })
  const replicas = [aReplica('a', app.port)]
  edge = await startEdge({ hosts: [aHost({ affinity: 'cookie' })], revisions: [aRevision({ replicas })] })
  const socket = new WebSocket(`ws://127.0.0.1:${edge.port}`, { headers: { host: 'hello.localhost' } })
  const [response] = (await once(socket, 'upgrade')) as [{ headers: Record<string, unknown> }]
  expect(response.headers['set-cookie']).toEqual([expect.stringMatching(/^BERTH_AFFINITY=/)])
  socket.close()
  await once(socket, 'close')
  sockets.close()
})

test.each([{}, { affinity: 'a way of a later version' }])(
  'without affinity (%j) nothing is set and nothing taken away',
  async (host) => {
    const { port } = await threeReplicas(host)
    const cookie = 'a=1; BERTH_AFFINITY=x'
    const answer = await ask({ port, headers: { cookie } })
    expect(answer.headers).not.toHaveProperty('set-cookie')
    expect(answer.body).toContain(cookie)
  },
)
