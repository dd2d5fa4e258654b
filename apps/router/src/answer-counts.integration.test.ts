import { afterEach, expect, test } from 'vitest'
import type { AccessLine } from './exchange/access-line.ts'
import { ask, eventually, sendRaw, startApp, startEdge } from './testing/edge.ts'
import { aReplica, aRevision } from './testing/routes.ts'

const endings: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const ending of endings.splice(0).reverse()) await ending()
})

test('the report counts what replicas answered and failed, and not what the client or the router ended', async () => {
  const app = await startApp((request, response) => {
    const { url = '' } = request
    if (url === '/hang') return
    if (url === '/die') return void request.socket.destroy()
    if (url === '/break') {
      response.write('half', () => request.socket.destroy())
      return
    }
    response.statusCode = Number(url.slice(1))
    response.end()
  })
  endings.push(() => app.close())
  const replica = { ...aReplica('a'), port: app.port }
  const edge = await startEdge({
    revisions: [aRevision({ concurrency: 0, timeoutMs: 500, replicas: [replica] })],
  })
  endings.push(() => edge.close())
  const { port } = edge
  const reported = () =>
    edge.leader.frames.flatMap((frame) => (frame.kind === 'report' ? frame.revisions : []))
  const sum = (key: 'requests' | 'failed') =>
    reported().reduce((total, { answers }) => total + (answers?.[key] ?? 0), 0)

  for (const status of [200, 302, 404, 429]) await ask({ port, path: `/${status}` })
  for (const status of [500, 503]) await ask({ port, path: `/${status}` })
  expect((await ask({ port, path: '/hang' })).status).toBe(504)
  await expect(ask({ port, path: '/break' })).rejects.toThrow()
  expect((await ask({ port, path: '/die', method: 'POST', body: 'x' })).status).toBe(502)
  await expect(ask({ port, path: '/hang', signal: AbortSignal.timeout(50) })).rejects.toThrow()
  expect((await ask({ port, host: 'nobody.localhost' })).status).toBe(404)

  await eventually(() => sum('requests') === 9)
  expect(sum('failed')).toBe(5)
})

test('what is refused before it is a request is counted and written down like any other', async () => {
  const lines: AccessLine[] = []
  const write = (line: string) => void lines.push(JSON.parse(line) as AccessLine)
  const edge = await startEdge({}, {}, { write, droppedLines: 0 })
  endings.push(() => edge.close())
  const answer = await sendRaw(edge.port, 'NOT HTTP\r\n\r\n')
  const [line] = lines.filter(({ outcome }) => outcome === 'refused')
  expect(line).toMatchObject({ status: 400, code: 'malformed-request' })
  expect(answer).toContain(`"requestId":"${line?.requestId}"`)
  const { body } = await ask({ port: edge.router.adminPort, path: '/metrics' })
  expect(body).toContain('berth_router_requests_total{project="",service="",status="4xx"} 1')
})
