import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { AccessLine } from './exchange/access-line.ts'

/** Seconds; from a warm request to a cold start behind a full queue. */
const latencyBuckets = [0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300]

type Named = { project: string; service: string }

export type Load = {
  inFlight(): number
  queued(): number
  /** Every service that has a host, once or more often. */
  services(): Iterable<Named>
}

const statusClasses = ['1xx', '2xx', '3xx', '4xx', '5xx'] as const

/** What the router counts, event-loop lag included. Labels hold names of services only, never what a client sent. */
export function createMetrics(load: Load) {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  const registers = [registry]
  const requests = new Counter({
    name: 'berth_router_requests_total',
    help: 'Requests by service and class of status',
    labelNames: ['project', 'service', 'status'],
    registers,
  })
  const latency = new Histogram({
    name: 'berth_router_request_seconds',
    help: 'From the head of a request to the end of its answer',
    labelNames: ['project', 'service'],
    buckets: latencyBuckets,
    registers,
  })
  const retries = new Counter({ name: 'berth_router_retries_total', help: 'Second attempts', registers })
  const wakes = new Counter({
    name: 'berth_router_wakes_total',
    help: 'Times that a request found a revision without any replica and was the first to wait',
    labelNames: ['project', 'service'],
    registers,
  })
  gauge('berth_router_in_flight', 'Requests inside replicas', () => load.inFlight())
  gauge('berth_router_queued', 'Requests that wait for a slot', () => load.queued())

  function gauge(name: string, help: string, read: () => number): void {
    const made: Gauge = new Gauge({ name, help, registers, collect: (): void => made.set(read()) })
  }

  const counted = new Map<string, Named>()
  const note = (of: Named) => counted.set(`${of.project}/${of.service}`, of)

  /** Series of deleted services would pile up for as long as the process lives. */
  function forgetDeleted(): void {
    const there = new Set<string>()
    for (const { project, service } of load.services()) there.add(`${project}/${service}`)
    for (const [name, { project, service }] of counted) {
      if (there.has(name)) continue
      for (const status of statusClasses) requests.remove({ project, service, status })
      latency.remove({ project, service })
      wakes.remove({ project, service })
      counted.delete(name)
    }
  }

  return {
    observe(line: AccessLine): void {
      const labels = { project: line.project ?? '', service: line.service ?? '' }
      if (line.service !== undefined) note(labels)
      requests.inc({ ...labels, status: `${Math.floor(line.status / 100)}xx` })
      latency.observe(labels, line.ms / 1000)
      if (line.retries > 0) retries.inc(line.retries)
    },
    woke(project: string, service: string): void {
      note({ project, service })
      wakes.inc({ project, service })
    },
    text: (): Promise<string> => {
      forgetDeleted()
      return registry.metrics()
    },
    contentType: registry.contentType,
  }
}
