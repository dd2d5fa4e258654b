import { expect, test } from 'vitest'
import { anAccessLine } from '../testing/access-lines.ts'
import { createMetrics, type Load } from './metrics.ts'
import { TrafficByService } from './traffic.ts'

const hello = { project: 'default', service: 'hello' }
const other = { project: 'default', service: 'other' }

function metricsOf(load: Partial<Load> = {}) {
  return createMetrics({
    inFlight: () => 0,
    queued: () => 0,
    revisions: () => [],
    connections: () => 0,
    droppedLines: () => 0,
    services: () => [hello, other],
    ...load,
  })
}

test('requests are counted by service and class of status', async () => {
  const metrics = metricsOf()
  for (const status of [101, 200, 204, 302, 404, 499, 500, 503, 599])
    metrics.observe(anAccessLine({ status }))
  metrics.observe(anAccessLine({ ...other, status: 200 }))
  // Broken off before there was any answer.
  metrics.observe(anAccessLine({ status: 0 }))
  const text = await metrics.text()
  const counts = text.matchAll(/^berth_router_requests_total\{project="default",(.*)\} ([0-9]+)$/gm)
  expect([...counts].map(([, labels, count]) => `${labels} ${count}`)).toEqual([
    'service="hello",status="1xx" 1',
    'service="hello",status="2xx" 2',
    'service="hello",status="3xx" 1',
    'service="hello",status="4xx" 2',
    'service="hello",status="5xx" 4',
    'service="other",status="2xx" 1',
  ])
})

test('latencies are counted up to each bound, by service and class of status', async () => {
  const metrics = metricsOf()
  for (const ms of [0.5, 1, 1.001, 30, 400_000]) metrics.observe(anAccessLine({ ms }))
  metrics.observe(anAccessLine({ status: 503, ms: 10_000 }))
  const text = await metrics.text()
  const of = 'project="default",service="hello",status="2xx"'
  for (const [bound, count] of [
    ['0.001', 2],
    ['0.002', 3],
    ['0.025', 3],
    ['0.05', 4],
    ['300', 4],
    ['+Inf', 5],
  ])
    expect(text).toContain(`berth_router_request_seconds_bucket{le="${bound}",${of}} ${count}\n`)
  expect(text).toContain(`berth_router_request_seconds_count{${of}} 5\n`)
  expect(text).toMatch(/_seconds_sum\{.*status="2xx"\} 400\.032[0-9]*\n/)
  expect(text).toMatch(/_seconds_bucket\{le="10",.*status="5xx"\} 1\n/)
})

test('wakes, ejections, retries, connections and dropped lines are told', async () => {
  const metrics = metricsOf({
    connections: () => 7,
    droppedLines: () => 3,
    inFlight: () => 2,
    queued: () => 1,
  })
  metrics.woke(hello)
  metrics.ejected(other)
  metrics.observe(anAccessLine({ retries: 1 }))
  await metrics.text()
  const lines = (await metrics.text()).split('\n')
  expect(lines).toEqual(
    expect.arrayContaining([
      'berth_router_wakes_total{project="default",service="hello"} 1',
      'berth_router_ejections_total{project="default",service="other"} 1',
      'berth_router_retries_total 1',
      'berth_router_connections 7',
      'berth_router_log_lines_dropped_total 3',
      'berth_router_in_flight 2',
      'berth_router_queued 1',
    ]),
  )
  expect(lines.some((line) => /^nodejs_eventloop_lag_p99_seconds [0-9]/.test(line))).toBe(true)
})

test('what a service has to do is the sum over its revisions, and goes with it', async () => {
  let revisions = [
    { route: hello, inFlight: 3, queued: 0 },
    { route: hello, inFlight: 2, queued: 5 },
    { route: other, inFlight: 0, queued: 0 },
  ]
  const metrics = metricsOf({ revisions: () => revisions })
  await metrics.text()
  const text = await metrics.text()
  for (const line of [
    'berth_router_service_in_flight{project="default",service="hello"} 5\n',
    'berth_router_service_queued{project="default",service="hello"} 5\n',
    'berth_router_service_queued{project="default",service="other"} 0\n',
  ])
    expect(text).toContain(line)
  revisions = revisions.slice(2)
  expect(await metrics.text()).not.toContain('service="hello"')
})

test('every line is of the form that Prometheus reads, and no series is there twice', async () => {
  const metrics = metricsOf()
  metrics.observe(anAccessLine())
  metrics.observe(anAccessLine(other))
  metrics.woke(hello)
  const text = await metrics.text()
  const samples = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  const sample =
    /^([a-z0-9_]+(?:\{[a-z]+="[^"\\\n]*"(?:,[a-z]+="[^"\\\n]*")*\})?) (?:-?[0-9.]+(?:e[+-]?[0-9]+)?|Nan)$/
  expect(samples.filter((line) => !sample.test(line))).toEqual([])
  const series = samples.map((line) => line.slice(0, line.lastIndexOf(' ')))
  expect(new Set(series).size).toBe(series.length)
})

test('the series of a deleted service go, those of the others and of unknown hosts stay', async () => {
  let services = [hello, other]
  const metrics = metricsOf({ services: () => services })
  for (const status of [101, 200, 302, 404, 503]) metrics.observe(anAccessLine({ status }))
  metrics.woke(hello)
  metrics.ejected(hello)
  metrics.observe(anAccessLine(other))
  metrics.observe(anAccessLine({ project: undefined, service: undefined, status: 404 }))
  expect((await metrics.text()).match(/_requests_total\{.*service="hello"/g)).toHaveLength(5)

  services = [other]
  const text = await metrics.text()
  expect(text).not.toContain('service="hello"')
  expect(text).toContain('berth_router_requests_total{project="default",service="other",status="2xx"} 1')
  expect(text).toContain('berth_router_requests_total{project="",service="",status="4xx"} 1')

  metrics.observe(anAccessLine({ status: 204 }))
  services.push(hello)
  expect(await metrics.text()).toContain('service="hello",status="2xx"} 1')
})

test('services that come and go while nobody asks for metrics do not pile up', () => {
  let current = { project: 'default', service: 's-0' }
  const traffic = new TrafficByService(() => [current])
  for (let index = 0; index < 10_000; index += 1) {
    current = { project: `p-${index % 3}`, service: `s-${index}` }
    traffic.of(current.project, current.service).wakes += 1
  }
  expect([...traffic.all()].length).toBeLessThanOrEqual(65)
  expect(traffic.of(current.project, current.service).wakes).toBe(1)
})
