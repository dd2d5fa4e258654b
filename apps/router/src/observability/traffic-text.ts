import { Latency, type ServiceName, type Traffic } from './traffic.ts'

/*
 * The traffic of services in the text format of Prometheus. Labels are names that the contracts keep to letters, digits
 * and hyphens, so that nothing in them has to be escaped.
 */

type Family = {
  name: string
  help: string
  type: 'counter' | 'histogram' | 'gauge'
  lines(name: string, traffic: Traffic): Iterable<string>
}

const families: readonly Family[] = [
  {
    name: 'berth_router_requests_total',
    help: 'Requests by service and class of status',
    type: 'counter',
    *lines(name, traffic) {
      for (const [status, { total }] of classes(traffic))
        yield `${name}{${labels(traffic.name)},status="${status}"} ${total}`
    },
  },
  {
    name: 'berth_router_request_seconds',
    help: 'From the head of a request to the end of its answer, by service and class of status',
    type: 'histogram',
    *lines(name, traffic) {
      for (const [status, latency] of classes(traffic))
        yield* histogram(name, `${labels(traffic.name)},status="${status}"`, latency)
    },
  },
  {
    name: 'berth_router_wakes_total',
    help: 'Times that a request found a revision without any replica and was the first to wait',
    type: 'counter',
    *lines(name, traffic) {
      if (traffic.wakes > 0) yield `${name}{${labels(traffic.name)}} ${traffic.wakes}`
    },
  },
  {
    name: 'berth_router_ejections_total',
    help: 'Times that a replica was taken out because it could not be reached or broke off',
    type: 'counter',
    *lines(name, traffic) {
      if (traffic.ejections > 0) yield `${name}{${labels(traffic.name)}} ${traffic.ejections}`
    },
  },
]

/** Every family with its head, each line with its end. */
export function trafficText(traffics: readonly Traffic[]): string {
  const lines: string[] = []
  for (const family of families) {
    const { name, help, type } = family
    lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`)
    for (const traffic of traffics) lines.push(...family.lines(name, traffic))
  }
  return `${lines.join('\n')}\n`
}

function* classes({ answers }: Traffic): Generator<[string, Latency]> {
  for (const [first, latency] of answers.entries()) if (latency) yield [`${first}xx`, latency]
}

function* histogram(name: string, of: string, { counts, seconds, total }: Latency): Generator<string> {
  let within = 0
  for (const [place, bound] of Latency.bounds.entries()) {
    within += counts[place] ?? 0
    yield `${name}_bucket{le="${bound}",${of}} ${within}`
  }
  yield `${name}_bucket{le="+Inf",${of}} ${total}`
  yield `${name}_sum{${of}} ${seconds}`
  yield `${name}_count{${of}} ${total}`
}

function labels({ project, service }: ServiceName): string {
  return `project="${project}",service="${service}"`
}
