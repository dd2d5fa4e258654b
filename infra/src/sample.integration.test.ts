import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type RequestListener, type Server } from 'node:http'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { freePorts } from '../../test/support/free-ports.ts'
import { apiClient } from './api-client.ts'
import { ensureSample } from './sample.ts'
import { parseSettings, portVariables, type Settings } from './settings.ts'

/* The sample against a stand-in of the platform: an API that remembers, an edge, and a registry that takes all. */

type Deployment = { phase: string; reason?: string; message?: string }

let folder: string
let settings: Settings
let servers: Server[]
let calls: string[]
/** Newest first; undefined while there is no service. */
let deployments: Deployment[] | undefined
/** What becomes of the next deployments. */
let outcomes: Deployment[]
let edgeStatus: number

const succeeds: Deployment = { phase: 'succeeded' }
const fails: Deployment = { phase: 'failed', reason: 'ImagePullFailed', message: 'the disk is full' }

const api: RequestListener = (request, response) => {
  request.resume()
  calls.push(`${request.method} ${request.url}`)
  const answer = (status: number, body: unknown = {}) => {
    response.writeHead(status, { 'content-type': 'application/json' })
    response.end(JSON.stringify(body))
  }
  if (request.method === 'POST' || request.method === 'PATCH') {
    deployments = [outcomes.shift() ?? succeeds, ...(deployments ?? [])]
    answer(202)
  } else if (deployments === undefined) answer(404)
  else answer(200, { items: deployments })
}

const edge: RequestListener = (request, response) => {
  request.resume()
  response.statusCode = deployments?.[0]?.phase === 'succeeded' ? edgeStatus : 503
  response.end()
}

const registry: RequestListener = (request, response) => {
  request.resume()
  request.once('end', () => {
    response.statusCode = request.method === 'HEAD' ? 404 : request.method === 'POST' ? 202 : 201
    response.setHeader('location', '/v2/upload')
    response.end()
  })
}

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'berth-sample-'))
  const ports = await freePorts()
  const env = Object.entries(portVariables).map(([name, { variable }]) => [
    variable,
    String(ports[name as keyof typeof ports]),
  ])
  const variables = { ...(Object.fromEntries(env) as Record<string, string>), BERTH_DATA: folder }
  settings = parseSettings(variables, resolve(import.meta.dirname, '../..'), '/')
  servers = await Promise.all([
    listen(api, ports.api),
    listen(edge, ports.edge),
    listen(registry, ports.registry),
  ])
  calls = []
  deployments = undefined
  outcomes = []
  edgeStatus = 200
})

afterEach(async () => {
  await Promise.all(servers.map((server) => new Promise((done) => server.close(done))))
  await rm(folder, { recursive: true, force: true })
})

const ensure = () => ensureSample(settings, apiClient(settings.ports.api, 'token'))
const changes = () => calls.filter((call) => !call.startsWith('GET'))

function listen(answer: RequestListener, port: number): Promise<Server> {
  const server = createServer(answer)
  return new Promise((done) => {
    server.listen(port, '127.0.0.1', () => done(server))
  })
}

describe('the sample', () => {
  test('is deployed by the first up, which waits for its answer', async () => {
    expect(await ensure()).toBe(`http://hello.localhost:${settings.ports.edge}`)
    expect(changes()).toEqual(['POST /services'])
  })

  test('that did not deploy the first time is tried again by the next up', async () => {
    outcomes = [fails]
    await expect(ensure()).rejects.toThrow(
      'The sample service could not be deployed: ImagePullFailed: the disk is full; the next ./berth up tries again.',
    )
    expect(await ensure()).toBeDefined()
    expect(changes()).toEqual(['POST /services', 'PATCH /services/hello'])
  })

  test('that is still being deployed is waited for and not deployed again', async () => {
    deployments = [succeeds]
    await ensure()
    expect(changes()).toEqual([])
    expect(existsSync(join(folder, 'sample-deployed'))).toBe(true)
  })

  test('that the user has changed since need not answer', async () => {
    await ensure()
    edgeStatus = 500
    deployments = [fails, succeeds]
    expect(await ensure()).toBe(`http://hello.localhost:${settings.ports.edge}`)
    expect(changes()).toEqual(['POST /services'])
  })

  test('that the user has deleted stays deleted', async () => {
    await ensure()
    deployments = undefined
    expect(await ensure()).toBeUndefined()
    expect(changes()).toEqual(['POST /services'])
  })
})

test('an API that has gone away is one sentence', async () => {
  await Promise.all(servers.splice(0).map((server) => new Promise((done) => server.close(done))))
  await expect(ensure()).rejects.toThrow(
    new RegExp(
      `^The API on port ${settings.ports.api} does not answer \\(GET /services/hello: .*ECONNREFUSED`,
    ),
  )
})
