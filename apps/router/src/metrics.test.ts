import { expect, test } from 'vitest'
import type { AccessLine } from './exchange/access-line.ts'
import { createMetrics } from './metrics.ts'

function aLine(changes: Partial<AccessLine> = {}): AccessLine {
  return {
    outcome: 'answered',
    requestId: 'id',
    method: 'GET',
    host: 'hello.localhost',
    path: '/',
    status: 200,
    ms: 1,
    queuedMs: 0,
    bytes: 0,
    retries: 0,
    project: 'default',
    service: 'hello',
    ...changes,
  }
}

test('the series of a deleted service go, those of the others and of unknown hosts stay', async () => {
  let services = [
    { project: 'default', service: 'hello' },
    { project: 'default', service: 'other' },
  ]
  const metrics = createMetrics({ inFlight: () => 0, queued: () => 0, services: () => services })
  for (const status of [101, 200, 302, 404, 503]) metrics.observe(aLine({ status }))
  metrics.woke('default', 'hello')
  metrics.observe(aLine({ service: 'other' }))
  const { project: _project, service: _service, ...nobodys } = aLine({ status: 404 })
  metrics.observe(nobodys)
  expect((await metrics.text()).match(/_requests_total\{.*service="hello"/g)).toHaveLength(5)

  services = services.filter(({ service }) => service === 'other')
  const text = await metrics.text()
  expect(text).not.toContain('service="hello"')
  expect(text).toContain('berth_router_requests_total{project="default",service="other",status="2xx"} 1')
  expect(text).toContain('berth_router_requests_total{project="",service="",status="4xx"} 1')

  metrics.observe(aLine({ status: 204 }))
  services.push({ project: 'default', service: 'hello' })
  expect(await metrics.text()).toContain('service="hello",status="2xx"} 1')
})
