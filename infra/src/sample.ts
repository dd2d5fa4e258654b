import { accessSync, constants, existsSync, mkdirSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { ApiClient } from './api-client.ts'
import { Failure, messageOf } from './failure.ts'
import { callHttp } from './http-call.ts'
import { buildNodeImage } from './image/node-image.ts'
import { pushImage } from './image/push.ts'
import type { Settings } from './settings.ts'

const service = 'hello'
const answerTimeoutMs = 120_000

type Deployment = { phase: string; reason?: string | null; message?: string | null }

/**
 * Deploys the sample and waits until it answers, once; a first deployment that failed is tried again. From then on
 * it is the user's: changed or deleted, it is left as it is. Returns its URL, or undefined when the user deleted it.
 */
export async function ensureSample(
  settings: Settings,
  api: ApiClient,
  signal?: AbortSignal,
): Promise<string | undefined> {
  const mark = join(settings.data, 'sample-deployed')
  const wasDeployed = existsSync(mark)
  const found = await api.expect([200, 404], 'GET', `/services/${service}`)
  if (found.status === 404 && wasDeployed) return undefined
  if (!wasDeployed) {
    if (found.status === 404) {
      const image = await pushSample(settings)
      await api.expect([202, 409], 'POST', '/services', { name: service, image, memory: '128Mi' })
    } else if ((await newestDeployment(api))?.phase === 'failed') {
      await api.expect([202], 'PATCH', `/services/${service}`, { image: await pushSample(settings) })
    }
    await waitForAnswer(settings, api, signal)
    await writeFile(mark, '')
  }
  const { tls, ports } = settings
  const [scheme, port] = tls ? ['https', tls.port] : ['http', ports.edge]
  return `${scheme}://${service}.${settings.domain}:${port}`
}

async function pushSample(settings: Settings): Promise<string> {
  const built = await buildNodeImage({
    folder: join(settings.project, 'samples', service),
    nodeBinary: join(settings.project, 'node_modules/.bin/node'),
    cache: imageCache(settings.project, settings.data),
  })
  const port = settings.ports.registry
  await pushImage(built, { host: '127.0.0.1', port, repository: service, tag: '1' })
  return `127.0.0.1:${port}/${service}:1`
}

/**
 * Layers of offline images are shared by everything that packs images here; by a user who may not write to the
 * project they are kept in the data folder.
 */
export function imageCache(project: string, data: string): string {
  const shared = join(project, 'node_modules', '.cache', 'berth')
  try {
    mkdirSync(shared, { recursive: true })
    accessSync(shared, constants.W_OK)
    return shared
  } catch {
    return join(data, 'cache')
  }
}

/** The first 200 through the edge; a deployment that failed ends the wait with its own words. */
async function waitForAnswer(
  settings: Settings,
  api: ApiClient,
  signal: AbortSignal | undefined,
): Promise<void> {
  const deadline = performance.now() + answerTimeoutMs
  let last = 'no answer yet'
  while (performance.now() < deadline) {
    signal?.throwIfAborted()
    try {
      const { status, body } = await callHttp({
        target: { host: reachable(settings.edgeAddresses[0]), port: settings.ports.edge },
        path: '/',
        headers: { host: `${service}.${settings.domain}:${settings.ports.edge}` },
        timeoutMs: 30_000,
      })
      // Sent to TLS, for which there may be no certificate yet: the service is there.
      if (status === 200 || (status === 308 && settings.tls?.redirects)) return
      last = `the edge answers ${status} ${body.slice(0, 300)}`
    } catch (error) {
      last = messageOf(error)
    }
    const newest = await newestDeployment(api)
    if (newest?.phase === 'failed')
      throw new Failure(
        `The sample service could not be deployed: ${newest.reason}: ${newest.message}; the next ./berth up tries again.`,
      )
    await delay(100)
  }
  throw new Failure(`The sample service does not answer: ${last}`)
}

/** Where whoever listens on `address` can be reached on this machine. */
function reachable(address = '127.0.0.1'): string {
  if (address === '0.0.0.0') return '127.0.0.1'
  return address === '::' ? '::1' : address
}

async function newestDeployment(api: ApiClient): Promise<Deployment | undefined> {
  const { body } = await api.expect([200, 404], 'GET', `/services/${service}/deployments?limit=1`)
  return (body as { items?: Deployment[] }).items?.[0]
}
