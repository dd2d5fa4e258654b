import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { EngineEndpoint } from '../container-runtime.ts'
import type { FakeAppBehaviour, FakeContainer } from './fake-container.ts'
import { FakeEngineState, type FakeImage, imageOf, Refusal } from './fake-engine-state.ts'
import { type FakeAnswer, fakeRoutes } from './fake-routes.ts'
import { FaultPlan } from './fault-plan.ts'

export type FakeEngineOptions = {
  /** The newest API version it says it speaks. */
  apiVersion?: string
  architecture?: string
  cpus?: number
  memoryBytes?: number
  name?: string
  /** How the program of a started app container behaves; by default it listens at once and answers 200. */
  app?: (container: FakeContainer) => FakeAppBehaviour
}

type ImageFacts = Partial<Omit<FakeImage, 'references'>>

/**
 * A Docker Engine on a unix socket that keeps everything in memory and goes wrong on demand. Routes of faults are
 * written without the version: `POST /containers/create`; a star stands for one segment.
 */
export type FakeEngine = {
  readonly endpoint: EngineEndpoint
  /** Every call so far, as `POST /containers/create`, in order of arrival. */
  readonly calls: readonly string[]
  readonly state: FakeEngineState
  containers(): FakeContainer[]
  /** Puts an image on the node. */
  addImage(reference: string, about?: ImageFacts): FakeImage
  /** Lets `pull` find an image, by `address/repository@digest`. */
  addRemoteImage(reference: string, about?: ImageFacts): void
  fail(route: string, how: { status: number; message: string; times?: number }): void
  /** Does what is asked and breaks the connection instead of answering; `before` breaks it without doing anything. */
  cut(route: string, how?: { times?: number; before?: boolean }): void
  /** Never answers, until `release`. */
  hang(route: string, how?: { times?: number }): void
  delay(route: string, how: { ms: number; times?: number }): void
  /** Lets the next pull fail after it has shown progress: status 200, and the failure is a line of the answer. */
  breakPull(message: string): void
  /** Lets the next pull stand still after it has shown progress. */
  stallPull(): void
  /** Takes all faults away and lets calls that hang go on. */
  release(): void
  /** Breaks the event streams that are open. */
  dropEvents(): void
  /** Ends a container as if its program had ended. */
  exit(nameOrId: string, how?: { exitCode?: number; oomKilled?: boolean }): void
  stop(): Promise<void>
}

export async function startFakeEngine(options: FakeEngineOptions = {}): Promise<FakeEngine> {
  const folder = await mkdtemp(join(tmpdir(), 'bfe-'))
  const path = join(folder, 'e.sock')
  const state = new FakeEngineState(options.app ?? (() => ({})))
  const plan = new FaultPlan()
  const calls: string[] = []
  const following = new Set<ServerResponse>()
  let letGo = Promise.withResolvers<void>()

  const server = createServer((request, response) => {
    answer(request, response).catch(() => response.destroy())
  })

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://engine')
    const route = decodeURIComponent(url.pathname.replace(/^\/v\d+\.\d+(?=\/)/, ''))
    const method = request.method ?? ''
    const body = await bytesOf(request)
    calls.push(`${method} ${route}`)
    const fault = plan.take(method, route)
    if (fault?.kind === 'fail')
      return send(response, { status: fault.status, body: { message: fault.message } })
    if (fault?.kind === 'drop') return void response.destroy()
    if (fault?.kind === 'hang') await letGo.promise
    if (fault?.kind === 'delay') await delay(fault.ms)
    // What answers by itself ends in nothing too.
    if (route === '/events') following.add(response.once('close', () => following.delete(response)))
    if (fault?.kind === 'cut') response.end = () => response.destroy()
    const result = await perform(method, route, { url, body, request, response })
    if (fault?.kind === 'cut') return void response.destroy()
    if (result !== undefined) send(response, result)
  }

  async function perform(
    method: string,
    path: string,
    { url, ...call }: { url: URL; body: Buffer; request: IncomingMessage; response: ServerResponse },
  ): Promise<FakeAnswer> {
    if (path === '/_ping') return { status: 200, body: 'OK' }
    if (path === '/info') return { status: 200, body: infoOf(options) }
    for (const [verb, pattern, route] of fakeRoutes) {
      const match = verb === method ? pattern.exec(path) : null
      if (match === null) continue
      try {
        return await route(state, { ...call, parts: match.slice(1), query: url.searchParams })
      } catch (error) {
        if (error instanceof Refusal) return { status: error.status, body: { message: error.message } }
        throw error
      }
    }
    return { status: 404, body: { message: 'page not found' } }
  }

  function send(response: ServerResponse, { status, body }: { status: number; body?: unknown }): void {
    response.writeHead(status, {
      'content-type': 'application/json',
      'api-version': options.apiVersion ?? '1.41',
      server: 'Docker/20.10.99 (linux)',
    })
    response.end(body === undefined ? undefined : JSON.stringify(body))
  }

  server.listen(path)
  await once(server, 'listening')
  return {
    endpoint: { kind: 'unix', path },
    calls,
    state,
    containers: () => [...state.containers.values()],
    addImage: (reference, about) => state.addImage(reference, about),
    addRemoteImage: (reference, about) => void state.remoteImages.set(reference, imageOf(reference, about)),
    fail: (route, { times, ...how }) => plan.add(route, { kind: 'fail', ...how }, times),
    cut: (route, how = {}) => plan.add(route, { kind: how.before ? 'drop' : 'cut' }, how.times),
    hang: (route, how = {}) => plan.add(route, { kind: 'hang' }, how.times),
    delay: (route, { ms, times }) => plan.add(route, { kind: 'delay', ms }, times),
    breakPull: (message) => void state.brokenPulls.push({ message }),
    stallPull: () => void state.brokenPulls.push('stalls'),
    release() {
      plan.clear()
      letGo.resolve()
      letGo = Promise.withResolvers<void>()
    },
    dropEvents() {
      for (const response of following) response.destroy()
    },
    exit: (nameOrId, how) => state.exit(state.find(nameOrId), how),
    async stop() {
      letGo.resolve()
      state.stopEverything()
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
      await rm(folder, { recursive: true, force: true })
    },
  }
}

function infoOf(options: FakeEngineOptions): object {
  return {
    ID: `FAKE:${options.name ?? 'node'}`,
    Name: options.name ?? 'node',
    Architecture: options.architecture === 'arm64' ? 'aarch64' : 'x86_64',
    OSType: 'linux',
    OperatingSystem: 'Fake',
    KernelVersion: '6.0',
    NCPU: options.cpus ?? 4,
    MemTotal: options.memoryBytes ?? 8 * 1024 ** 3,
    ServerVersion: '20.10.99',
    LiveRestoreEnabled: false,
  }
}

async function bytesOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk)
  return Buffer.concat(chunks)
}
