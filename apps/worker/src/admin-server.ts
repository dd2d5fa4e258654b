import { createServer } from 'node:http'
import { collectDefaultMetrics, Gauge, Registry } from 'prom-client'

export type AdminServerOptions = {
  port: number
  isReady(): Promise<boolean>
  isLeading(): boolean
  /** Of nodes, as last measured; none unless this worker leads. */
  disks(): { node: string; disk: { totalBytes: number; freeBytes: number } }[]
}

/** `/healthz`, `/readyz` and `/metrics` on the loopback address. Resolves when it listens. */
export async function openAdminServer(
  options: AdminServerOptions,
): Promise<{ port: number; close(): Promise<void> }> {
  const metrics = new Registry()
  collectDefaultMetrics({ register: metrics })
  metrics.registerMetric(
    new Gauge({
      name: 'berth_worker_leading',
      help: '1 while this worker leads.',
      registers: [],
      collect() {
        this.set(options.isLeading() ? 1 : 0)
      },
    }),
  )

  for (const [name, help, key] of [
    ['berth_node_disk_total_bytes', 'What can be used in all of the disk that holds images.', 'totalBytes'],
    ['berth_node_disk_free_bytes', 'What is free of the disk that holds images.', 'freeBytes'],
  ] as const)
    metrics.registerMetric(
      new Gauge({
        name,
        help,
        labelNames: ['node'],
        registers: [],
        collect() {
          this.reset()
          for (const { node, disk } of options.disks()) this.set({ node }, disk[key])
        },
      }),
    )

  async function answer(path: string): Promise<{ status: number; type?: string; body: string }> {
    if (path === '/healthz') return { status: 200, body: 'ok\n' }
    if (path === '/metrics') return { status: 200, type: metrics.contentType, body: await metrics.metrics() }
    if (path !== '/readyz') return { status: 404, body: 'there is nothing here\n' }
    return (await options.isReady())
      ? { status: 200, body: 'ready\n' }
      : { status: 503, body: 'no worker leads yet\n' }
  }

  const server = createServer((request, response) => {
    const path = (request.url ?? '/').split('?', 1)[0] ?? '/'
    answer(path)
      .then(({ status, type = 'text/plain', body }) => {
        response.writeHead(status, { 'content-type': type })
        response.end(body)
      })
      .catch(() => response.destroy())
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(options.port, '127.0.0.1', resolve)
  })
  const address = server.address()
  return {
    port: typeof address === 'object' && address !== null ? address.port : options.port,
    close() {
      server.closeAllConnections()
      return new Promise((resolve) => {
        server.close(() => resolve())
      })
    },
  }
}
