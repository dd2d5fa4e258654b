import { collectDefaultMetrics, Counter, Gauge, Registry } from 'prom-client'
import type { AccessLine } from '../exchange/access-line.ts'
import { trafficText } from './traffic-text.ts'
import { TrafficByService, type ServiceName } from './traffic.ts'

/** A revision with what it has to do. */
type Busy = { route: ServiceName; inFlight: number; queued: number }

export type Load = {
  /** Every revision that a host leads to. */
  revisions(): Iterable<Busy>
  inFlight(): number
  queued(): number
  /** Connections of clients, idle ones among them. */
  connections(): number
  droppedLines(): number
  /** Every service that has a host, once or more often. */
  services(): Iterable<ServiceName>
}

/**
 * What the router counts, event-loop lag included. Labels hold names of services only, never what a client sent. What
 * is counted for every request are plain numbers that become text when somebody asks for them.
 */
export function createMetrics(load: Load) {
  const traffic = new TrafficByService(() => load.services())
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  const registers = [registry]
  const retries = new Counter({ name: 'berth_router_retries_total', help: 'Second attempts', registers })
  gauge('berth_router_in_flight', 'Requests inside replicas', () => load.inFlight())
  gauge('berth_router_queued', 'Requests that wait for a slot', () => load.queued())
  gaugeByService(
    'berth_router_service_in_flight',
    'Requests inside replicas of a service',
    (busy) => busy.inFlight,
  )
  gaugeByService(
    'berth_router_service_queued',
    'Requests that wait for a slot of a service',
    (busy) => busy.queued,
  )
  gauge('berth_router_connections', 'Open connections of clients', () => load.connections())
  const dropped: Counter = new Counter({
    name: 'berth_router_log_lines_dropped_total',
    help: 'Lines of the log, access lines above all, that were dropped because its reader did not keep up',
    registers,
    collect(): void {
      dropped.reset()
      dropped.inc(load.droppedLines())
    },
  })

  function gauge(name: string, help: string, read: () => number): void {
    const made: Gauge = new Gauge({ name, help, registers, collect: (): void => made.set(read()) })
  }

  function gaugeByService(name: string, help: string, read: (busy: Busy) => number): void {
    const made: Gauge<'project' | 'service'> = new Gauge({
      name,
      help,
      labelNames: ['project', 'service'],
      registers,
      collect(): void {
        made.reset()
        for (const busy of load.revisions()) {
          const { project, service } = busy.route
          made.inc({ project, service }, read(busy))
        }
      },
    })
  }

  return {
    observe({ project, service, status, ms, retries: again }: AccessLine): void {
      traffic.of(project, service).answered(status, ms / 1000)
      if (again > 0) retries.inc(again)
    },
    woke({ project, service }: ServiceName): void {
      traffic.of(project, service).wakes += 1
    },
    ejected({ project, service }: ServiceName): void {
      traffic.of(project, service).ejections += 1
    },
    async text(): Promise<string> {
      const others = await registry.metrics()
      traffic.forgetDeleted()
      return others + trafficText([...traffic.all()])
    },
    contentType: registry.contentType,
  }
}
