import { randomBytes } from 'node:crypto'
import { tmpdir } from 'node:os'
import { readFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { connectEngine, parseEndpoint } from '@berth/engine'
import { heldFence } from '@berth/engine/testing'
import { apiClient, type ApiAnswer } from '../../infra/src/api-client.ts'
import { openDataFolder } from '../../infra/src/data-folder.ts'
import { removeContainers } from '../../infra/src/engine/remove-containers.ts'
import { buildNodeImage } from '../../infra/src/image/node-image.ts'
import { pushImage } from '../../infra/src/image/push.ts'
import { callHttp } from '../../infra/src/http-call.ts'
import { openRunFolder } from '../../infra/src/run-folder.ts'
import { imageCache } from '../../infra/src/sample.ts'
import { parseSettings, portVariables, type PortName, type Ports } from '../../infra/src/settings.ts'
import { startSupervisor, waitUntilReady } from '../../infra/src/start-supervisor.ts'
import { stopBerth } from '../../infra/src/stop-berth.ts'
import { privateDatabaseUrl } from '../../infra/src/stores/postgres.ts'
import { privateRedisUrls } from '../../infra/src/stores/redis.ts'
import { askProcess, askRestart, readStatus } from '../../infra/src/supervisor/control-client.ts'
import type { ProcessStatus } from '../../infra/src/supervisor/supervised-process.ts'
import { askEdge, type EdgeAnswer, type EdgeRequest } from './edge.ts'
import type { EngineConnection } from './engines.ts'
import { freePorts } from './free-ports.ts'
import { until } from './poll.ts'
import { note, type Slot } from './slot.ts'

const projectFolder = resolve(import.meta.dirname, '../..')

/** Everything that a test needs to talk to a running platform; JSON all through, so vitest can hand it on. */
export type PlatformConnection = {
  installation: string
  data: string
  ports: Ports
  token: string
  domain: string
  supervisorSocket: string
  databaseUrl: string
  /** Socket path with user and password, as `new Redis(url)` takes it. */
  redisUrl: string
  networkCidr: string
  slot: number
  engines: EngineConnection[]
  /** The test app (test/images/test-app) in the platform's registry. */
  testImage: string
}

export type StartedPlatform = { connection: PlatformConnection; stop: () => Promise<void> }

/**
 * Starts a whole platform of its own: free ports, data below the slot's folder, an installation id of its own,
 * the given engines as nodes (capacity override: 2 cores, 4Gi each; label `zone` is the engine's name), and
 * the test app in its registry.
 */
export async function startPlatform(
  slot: Slot,
  engines: readonly EngineConnection[],
  env: Record<string, string> = {},
): Promise<StartedPlatform> {
  const data = join(slot.folder, `p${randomBytes(2).toString('hex')}`)
  const ports = await freePorts()
  const portEnv = Object.entries(portVariables).map(([name, { variable }]) => [
    variable,
    String(ports[name as PortName]),
  ])
  const platformEnv = {
    ...process.env,
    ...(Object.fromEntries(portEnv) as Record<string, string>),
    BERTH_DATA: data,
    BERTH_NETWORK_CIDR: slot.networkCidr,
    BERTH_LOCAL_NODE: 'none',
    DATABASE_URL: '',
    REDIS_URL: '',
    ...env,
  }
  const settings = parseSettings(platformEnv, projectFolder, projectFolder)
  const folder = await openDataFolder(data)
  const run = await openRunFolder(data)
  note(slot, 'processFiles', run.processFile)
  const supervisor = startSupervisor(settings, folder.logs)
  const stop = async () => {
    await stopBerth(run)
    for (const { endpoint } of engines) {
      const runtime = connectEngine(parseEndpoint(endpoint))
      await removeContainers(runtime, folder.installation, heldFence)
      runtime.close()
    }
  }
  try {
    await waitUntilReady(run, folder.logs, { supervisor })
    const connection: PlatformConnection = {
      installation: folder.installation,
      data,
      ports,
      token: folder.adminToken,
      domain: settings.domain,
      supervisorSocket: run.supervisorSocket,
      databaseUrl: privateDatabaseUrl(run),
      redisUrl: privateRedisUrls(folder, run).worker,
      networkCidr: slot.networkCidr,
      slot: slot.number,
      engines: [...engines],
      testImage: await pushTestImage(ports.registry, 'test-app', '1'),
    }
    const platform = connectPlatform(connection)
    for (const engine of engines) await platform.addNode(engine)
    return { connection, stop }
  } catch (error) {
    await stop()
    throw error
  }
}

/** Packs test/images/test-app and pushes it; `architecture` lies about the processor. Returns the reference. */
export async function pushTestImage(
  registryPort: number,
  repository: string,
  tag: string,
  architecture?: string,
): Promise<string> {
  const image = await buildNodeImage({
    folder: join(projectFolder, 'test/images/test-app'),
    nodeBinary: join(projectFolder, 'node_modules/.bin/node'),
    cache: imageCache(projectFolder, tmpdir()),
    ...(architecture === undefined ? {} : { architecture }),
    labels: { tag },
  })
  await pushImage(image, { host: '127.0.0.1', port: registryPort, repository, tag })
  return `127.0.0.1:${registryPort}/${repository}:${tag}`
}

export type ServiceBody = {
  name: string
  url: string
  generation: number
  deployment: { id: string } | null
  status: {
    observedGeneration: number
    conditions: { type: string; status: string; reason: string; message: string }[]
    latestReadyRevision: string | null
    traffic: { revision: string; percent: number; tag: string | null; url: string }[]
    replicas: { desired: number; running: number; frozen: number; parked: number }
  }
}
export type DeploymentBody = {
  id: string
  phase: string
  revision: string | null
  reason: string | null
  message: string | null
}
export type DeploymentEventBody = { at: string; phase: string; node: string | null; message: string }
type ReplicaBody = {
  id: string
  node: string
  revision: string
  state: string
  rung: string
  address: string
  port: number
  containers: { name: string; id: string }[]
  restarts: number
  reason: string | null
}

/** A running platform, as tests use it. */
export type Platform = ReturnType<typeof connectPlatform>

export function connectPlatform(connection: PlatformConnection) {
  const { ports, token, domain, supervisorSocket } = connection
  const { call, expect } = apiClient(ports.api, token)

  const host = (service: string) => `${service}.${domain}:${ports.edge}`

  /** Waits until a deployment has ended, however it ends. */
  const waitForDeployment = (id: string): Promise<DeploymentBody> =>
    until(
      async () => {
        const found = await deployment(id)
        return ['succeeded', 'failed', 'cancelled', 'superseded'].includes(found.phase) && found
      },
      { timeoutMs: 120_000, intervalMs: 50, describe: `deployment ${id} to end` },
    )

  const deployment = async (id: string): Promise<DeploymentBody> =>
    (await expect([200], 'GET', `/deployments/${id}`)).body as DeploymentBody

  const processStatus = async (name: string): Promise<ProcessStatus> => {
    const status = await readStatus(supervisorSocket)
    const found = status?.processes.find((each) => each.name === name)
    if (found === undefined) throw new Error(`the supervisor knows no process ${name}`)
    return found
  }

  return {
    connection,
    /** Any API call with the first token. */
    api: (method: string, path: string, body?: unknown): Promise<ApiAnswer> => call(method, path, body),
    /** An API call that must answer one of `statuses`. */
    expectApi: expect,
    host,
    /** A request to a service through the edge. */
    request: (service: string, asked: Omit<EdgeRequest, 'host'> = {}): Promise<EdgeAnswer> =>
      askEdge(ports.edge, { ...asked, host: host(service) }),

    /** POST /services with the test app unless `spec` says otherwise; waits for the end of the deployment. */
    async deploy(name: string, spec: Record<string, unknown> = {}): Promise<DeploymentBody> {
      const body = { name, image: connection.testImage, memory: '128Mi', ...spec }
      const { body: created } = await expect([202], 'POST', '/services', body)
      return await waitForDeployment((created as ServiceBody).deployment?.id ?? '')
    },

    /** PATCH of a service that makes a deployment; waits for its end. */
    async update(name: string, patch: Record<string, unknown>): Promise<DeploymentBody> {
      const { body } = await expect([202], 'PATCH', `/services/${name}`, patch)
      return await waitForDeployment((body as ServiceBody).deployment?.id ?? '')
    },

    waitForDeployment,

    /** The events of a deployment that has ended: its stream is read to its end. */
    events: async (id: string): Promise<DeploymentEventBody[]> => {
      const { body } = await callHttp({
        target: { port: ports.api },
        method: 'GET',
        path: `/deployments/${id}/events`,
        headers: { authorization: `Bearer ${token}` },
        timeoutMs: 30_000,
      })
      const lines = body.split('\n').filter((line) => line.startsWith('data:'))
      return lines.map((line) => JSON.parse(line.slice('data:'.length)) as DeploymentEventBody)
    },

    /** Waits until the service's URL answers 200. */
    waitReady: (service: string, path = '/'): Promise<EdgeAnswer> =>
      until(
        async () => {
          const answer = await askEdge(ports.edge, { host: host(service), path })
          if (answer.status !== 200) throw new Error(`${answer.status} ${answer.text().slice(0, 300)}`)
          return answer
        },
        { timeoutMs: 90_000, intervalMs: 50, describe: `${service} to answer 200` },
      ),

    service: async (name: string) => (await expect([200], 'GET', `/services/${name}`)).body as ServiceBody,

    replicas: async (name: string) =>
      ((await expect([200], 'GET', `/services/${name}/replicas`)).body as { items: ReplicaBody[] }).items,

    /** DELETE, then waits until GET answers 404. Fine when the service is not there. */
    async remove(name: string): Promise<void> {
      await expect([202, 404], 'DELETE', `/services/${name}`)
      await until(async () => (await call('GET', `/services/${name}`)).status === 404, {
        timeoutMs: 90_000,
        intervalMs: 50,
        describe: `${name} to be deleted`,
      })
    },

    /** Registers an engine as a node of pool `default` and waits until it is ready. */
    async addNode(engine: EngineConnection): Promise<void> {
      const { name, endpoint, address } = engine
      const capacity = { cpu: 2, memory: '4Gi' }
      const body = { name, endpoint, address, labels: { zone: name }, capacity }
      await expect([200, 201, 202, 409], 'POST', '/nodes', body)
      await until(
        async () => {
          const { body: node } = await expect([200], 'GET', `/nodes/${name}`)
          return (node as { status?: { reachability?: string } }).status?.reachability === 'ready'
        },
        { timeoutMs: 60_000, intervalMs: 100, describe: `node ${name} to be ready` },
      )
    },

    processStatus,
    /** The process and everything that descends from it, parents first. */
    processFamily: (pid: number): Promise<number[]> => processFamily(pid),
    /** Sends a signal to a process of the platform ("worker", "redis", ...) and returns its pid. */
    async signal(name: string, signal: NodeJS.Signals): Promise<number> {
      const { pid } = await processStatus(name)
      if (pid === null) throw new Error(`${name} does not run`)
      process.kill(pid, signal)
      return pid
    },
    /** Waits until a process is ready again under another pid than `not`. */
    waitForProcess: (name: string, not?: number): Promise<ProcessStatus> =>
      until(
        async () => {
          const status = await processStatus(name)
          return status.state === 'ready' && status.pid !== not && status
        },
        { timeoutMs: 60_000, intervalMs: 50, describe: `${name} to be ready again` },
      ),
    /** `./berth restart <name>`: gracefully for the router. */
    restart: (name: string) => askRestart(supervisorSocket, name),
    /** Stops a process and keeps it stopped (connections are refused) until `resume`. */
    pause: (name: string) => askProcess(supervisorSocket, 'pause', name),
    /** Starts a paused process and waits until it is ready. */
    resume: (name: string) => askProcess(supervisorSocket, 'resume', name),
  }
}

async function processFamily(pid: number): Promise<number[]> {
  const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => '')
  const pids = children.split(' ').filter(Boolean).map(Number)
  return [pid, ...(await Promise.all(pids.map(processFamily))).flat()]
}
