import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { type Certificates, makeCertificates } from '../support/certificates.ts'
import { type EngineFront, startEngineFront } from '../support/engine-front.ts'
import { connectPlatform, type DeploymentBody, type ServiceBody } from '../support/platform.ts'
import { until } from '../support/poll.ts'

const platform = connectPlatform(inject('platform'))
const { engines, testImage } = platform.connection
const project = 'tls-team'
const service = `/projects/${project}/services/behind-tls`

let folder: string
let certificates: Certificates
let front: EngineFront

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'berth-tls-'))
  certificates = makeCertificates(folder)
  await certificates.authority('ca')
  await certificates.authority('other')
  await certificates.certificate('server', 'ca')
  await certificates.certificate('client', 'ca')
  await certificates.certificate('stranger', 'other')
  const tls = { ...(await certificates.identity('server')), ca: await certificates.trust('ca') }
  front = await startEngineFront(engines[1]?.socketPath ?? '', { tls })
  await platform.expectApi([201, 202, 409], 'POST', '/projects', { name: project })
})

afterAll(async () => {
  await platform.api('DELETE', service)
  await until(async () => (await platform.api('GET', service)).status === 404, { timeoutMs: 60_000 })
  for (const node of ['behind-tls', 'wrong-key']) await platform.api('DELETE', `/nodes/${node}`)
  await until(async () => (await platform.api('GET', '/nodes/behind-tls')).status === 404, {
    timeoutMs: 60_000,
  })
  await front.close()
  rmSync(folder, { recursive: true, force: true })
})

async function register(name: string, client: string): Promise<unknown> {
  return await platform.expectApi([201, 202], 'POST', '/nodes', {
    name,
    endpoint: `tcp://127.0.0.1:${front.port}`,
    address: '127.0.0.1',
    labels: { tls: name },
    capacity: { cpu: 1, memory: '1Gi' },
    tls: { ca: await certificates.trust('ca'), ...(await certificates.identity(client)) },
  })
}

async function node(name: string) {
  const { body } = await platform.expectApi([200], 'GET', `/nodes/${name}`)
  return body as { status: { reachability: string; message?: string | null } }
}

describe('a node behind mutual TLS', () => {
  test('runs replicas, and its key is never shown', async () => {
    await register('behind-tls', 'client')
    await until(async () => (await node('behind-tls')).status.reachability === 'ready', {
      timeoutMs: 60_000,
      describe: 'the node to be ready',
    })
    expect(JSON.stringify(await node('behind-tls'))).not.toContain('PRIVATE KEY')
    const { body } = await platform.expectApi([202], 'POST', `/projects/${project}/services`, {
      name: 'behind-tls',
      image: testImage,
      memory: '96Mi',
      nodeSelector: { tls: 'behind-tls' },
    })
    const path = `/projects/${project}/deployments/${(body as ServiceBody).deployment?.id}`
    const phase = await until(
      async () => {
        const { body: deployment } = await platform.expectApi([200], 'GET', path)
        const found = (deployment as DeploymentBody).phase
        return ['succeeded', 'failed'].includes(found) && found
      },
      { timeoutMs: 90_000, describe: 'the deployment to end' },
    )
    expect(phase).toBe('succeeded')
    expect((await platform.request(`behind-tls--${project}`)).status).toBe(200)
  })

  test('stays down for a client that its authority does not know', async () => {
    await register('wrong-key', 'stranger')
    const { status } = await until(
      async () => {
        const found = await node('wrong-key')
        return found.status.message?.startsWith('ping: ') === true && found
      },
      { timeoutMs: 60_000, describe: 'the node to say why it is down' },
    )
    expect(status.reachability).toBe('down')
  })
})
