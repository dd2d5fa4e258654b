import { collectDefaultMetrics, Histogram, Registry } from 'prom-client'

export type ApiMetrics = {
  /** `route` is the pattern of the path, never the path itself. */
  observe(labels: { method: string; route: string; status: number }, seconds: number): void
  text(): Promise<string>
  contentType: string
}

/** A registry of its own, so that tests can make several. */
export function createMetrics(): ApiMetrics {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  const requests = new Histogram({
    name: 'berth_api_request_seconds',
    help: 'Time from the head of a request to its answer',
    labelNames: ['method', 'route', 'status'],
    buckets: [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1, 2.5],
    registers: [registry],
  })
  return {
    observe: (labels, seconds) => requests.observe(labels, seconds),
    text: () => registry.metrics(),
    contentType: registry.contentType,
  }
}
