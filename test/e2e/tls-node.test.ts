import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createServer, type Server } from 'node:tls'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { connectPlatform, type DeploymentBody, type ServiceBody } from '../support/platform.ts'
import { until } from '../support/poll.ts'

const platform = connectPlatform(inject('platform'))
const { engines, testImage } = platform.connection
const project = 'tls-team'
const service = `/projects/${project}/services/behind-tls`

let folder: string
let front: Server
let port: number

const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' })
const file = (name: string) => readFileSync(join(folder, name), 'utf8')

/** A certificate of `ca` for 127.0.0.1: `<name>.pem` and `<name>.key`. */
function certify(name: string, ca: string): void {
  openssl(
    'req',
    '-newkey',
    'rsa:2048',
    '-nodes',
    '-keyout',
    `${name}.key`,
    '-out',
    `${name}.csr`,
    '-subj',
    `/CN=${name}`,
  )
  writeFileSync(join(folder, 'extensions'), 'subjectAltName=IP:127.0.0.1')
  const signing = [
    '-CA',
    `${ca}.pem`,
    '-CAkey',
    `${ca}.key`,
    '-CAcreateserial',
    '-days',
    '2',
    '-extfile',
    'extensions',
  ]
  openssl('x509', '-req', '-in', `${name}.csr`, '-out', `${name}.pem`, ...signing)
}

function certificateAuthority(name: string): void {
  const subject = ['-subj', `/CN=${name}`, '-days', '2']
  openssl(
    'req',
    '-x509',
    '-newkey',
    'rsa:2048',
    '-nodes',
    '-keyout',
    `${name}.key`,
    '-out',
    `${name}.pem`,
    ...subject,
  )
}

/** An engine behind mutual TLS, as `dockerd --tlsverify` listens. */
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'berth-tls-'))
  certificateAuthority('ca')
  certificateAuthority('other')
  certify('server', 'ca')
  certify('client', 'ca')
  certify('stranger', 'other')
  const identity = { cert: file('server.pem'), key: file('server.key'), ca: file('ca.pem') }
  front = createServer({ ...identity, requestCert: true, rejectUnauthorized: true }, (socket) => {
    const engine = connect(engines[1]?.socketPath ?? '')
    socket.on('error', () => engine.destroy())
    engine.on('error', () => socket.destroy())
    socket.pipe(engine).pipe(socket)
  })
  await new Promise<void>((resolve) => {
    front.listen(0, '127.0.0.1', resolve)
  })
  const address = front.address()
  port = typeof address === 'object' && address ? address.port : 0
  await platform.expectApi([201, 202, 409], 'POST', '/projects', { name: project })
})

afterAll(async () => {
  await platform.api('DELETE', service)
  await until(async () => (await platform.api('GET', service)).status === 404, { timeoutMs: 60_000 })
  for (const node of ['behind-tls', 'wrong-key']) await platform.api('DELETE', `/nodes/${node}`)
  await until(async () => (await platform.api('GET', '/nodes/behind-tls')).status === 404, {
    timeoutMs: 60_000,
  })
  await new Promise((resolve) => front.close(resolve))
  rmSync(folder, { recursive: true, force: true })
})

function register(name: string, client: string): Promise<unknown> {
  return platform.expectApi([201, 202], 'POST', '/nodes', {
    name,
    endpoint: `tcp://127.0.0.1:${port}`,
    address: '127.0.0.1',
    labels: { tls: name },
    capacity: { cpu: 1, memory: '1Gi' },
    tls: { ca: file('ca.pem'), cert: file(`${client}.pem`), key: file(`${client}.key`) },
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
