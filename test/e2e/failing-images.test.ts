import { explanationView } from '@berth/contracts'
import { afterAll, describe, expect, inject, test } from 'vitest'
import { containersOf } from '../support/containers.ts'
import { connectPlatform, pushTestImage, type DeploymentBody, type ServiceBody } from '../support/platform.ts'
import { until } from '../support/poll.ts'

const platform = connectPlatform(inject('platform'))
const { engines, installation, ports, testImage } = platform.connection

const used: string[] = []
afterAll(async () => {
  await Promise.all(used.map((name) => platform.remove(name)))
  for (const name of used)
    await until(async () => (await containersOf(engines, installation, name)).length === 0, {
      timeoutMs: 60_000,
      describe: `${name} to leave no container`,
    })
})

/** Deploys what cannot work; answers with how the deployment ended and with the service's condition. */
async function deployBad(name: string, spec: Record<string, unknown>) {
  used.push(name)
  const deployment: DeploymentBody = await platform.deploy(name, spec)
  const condition = await until(
    async () => {
      const [found] = (await platform.service(name)).status.conditions
      return found?.status === 'False' && found
    },
    { timeoutMs: 60_000, describe: `the condition of ${name} to be False` },
  )
  return { deployment, condition }
}

// They wait for deadlines and back-offs for the most part.
describe.concurrent('an image that cannot be had', () => {
  test('because its tag was never pushed is refused with the command to push it', async () => {
    const image = `127.0.0.1:${ports.registry}/never-pushed:1`
    const { deployment, condition } = await deployBad('img-missing', { image })
    expect(deployment).toMatchObject({ phase: 'failed', reason: 'ImageNotFound' })
    expect(deployment.message).toContain(`docker push ${image}`)
    expect(condition.reason).toBe('ImageNotFound')
  })

  test.each([
    ['img-loopback', '127.0.0.1:1/app:1'],
    ['img-metadata', '169.254.169.254/app:1'],
    ['img-private', '10.0.0.1:5000/app:1'],
    ['img-localhost', 'localhost:22/app:1'],
  ])('because its registry is one Berth must not talk to is refused (%s)', async (name, image) => {
    const { deployment } = await deployBad(name, { image })
    expect(deployment).toMatchObject({ phase: 'failed', reason: 'RegistryRefused' })
  })

  test('because it is built for another processor is refused before anything starts', async () => {
    const image = await pushTestImage(ports.registry, 'other-cpu', '1', 's390x')
    const { deployment } = await deployBad('img-arch', { image })
    expect(deployment).toMatchObject({ phase: 'failed', reason: 'ArchitectureMismatch' })
    expect(deployment.message).toContain('s390x')
  })
})

describe.concurrent('an app that does not come up', () => {
  test('because it listens on 127.0.0.1 is told so', async () => {
    const { deployment } = await deployBad('app-loop', { env: { LISTEN: 'loopback' } })
    expect(deployment).toMatchObject({ phase: 'failed', reason: 'NotListening' })
    expect(deployment.message).toContain('expected :8080, found 127.0.0.1:8080')
  })

  test('because it listens on another port is told so', async () => {
    const { deployment } = await deployBad('app-port', { env: { LISTEN: 'other' } })
    expect(deployment).toMatchObject({ phase: 'failed', reason: 'NotListening' })
    expect(deployment.message).toMatch(/expected :8080, found .*:8081/)
  })

  test('because it ends at once fails with its exit code and its last lines', async () => {
    const env = { EXIT_AFTER_MS: '1', EXIT_CODE: '7', LISTEN: 'none' }
    const { deployment } = await deployBad('app-crash', { env })
    expect(deployment).toMatchObject({ phase: 'failed', reason: 'AppCrashed' })
    expect(deployment.message).toMatch(/\b7\b/)
    expect(deployment.message).toContain('ending as asked')
    const { body } = await platform.expectApi([200], 'GET', '/services/app-crash/explain')
    const told = explanationView.parse(body)
    expect(told).toMatchObject({ ready: 'False', lastLines: expect.arrayContaining(['ending as asked']) })
    expect(told.summary).toMatch(/^app-crash is not ready \(AppCrashed\): .*\b7\b/)
    expect(told.findings).toContainEqual(
      expect.objectContaining({ about: 'deployment', severity: 'error', node: expect.any(String) }),
    )
    expect(told.next[0]?.command).toContain('/services/app-crash/logs')
  })

  test('because no node has so much memory is told what each has left', async () => {
    used.push('app-huge')
    await platform.expectApi([202], 'POST', '/services', {
      name: 'app-huge',
      image: testImage,
      memory: '500Gi',
    })
    const told = await until(
      async () => {
        const { body } = await platform.expectApi([200], 'GET', '/services/app-huge/explain')
        const view = explanationView.parse(body)
        return view.findings.some(({ about }) => about === 'placement') && view
      },
      { timeoutMs: 60_000, describe: 'app-huge to be unplaceable' },
    )
    const refusals = told.findings.filter(({ about, node }) => about === 'placement' && node !== undefined)
    expect(refusals).toHaveLength(engines.length)
    for (const { message } of refusals) expect(message).toMatch(/memory 500Gi asked, \d+\w* free/)
  })
})

describe('a bad update', () => {
  test('never touches what serves', async () => {
    used.push('upd-bad')
    await platform.deploy('upd-bad', { minScale: 1, env: { MESSAGE: 'good' } })
    await platform.waitReady('upd-bad')
    const bad = { image: `127.0.0.1:${ports.registry}/never-pushed:2` }
    const { body } = await platform.expectApi([202], 'PATCH', '/services/upd-bad', bad)
    const deployment = await platform.waitForDeployment((body as ServiceBody).deployment?.id ?? '')
    expect(deployment.phase).toBe('failed')
    const answer = await platform.request('upd-bad')
    expect(answer.json()).toMatchObject({ message: 'good', revision: 'upd-bad-00001' })
  })
})

describe.concurrent('an app that serves', () => {
  test('and eats more than its memory is started again, and says why', async () => {
    used.push('app-oom')
    await platform.deploy('app-oom', { minScale: 1, memory: '96Mi' })
    const before = (await platform.waitReady('app-oom')).json<{ pid: number; replica: string }>()
    await platform.request('app-oom', { path: '/eat?mb=500' }).catch(() => undefined)
    await platform.waitReady('app-oom')
    const replicas = (await platform.replicas('app-oom')) as unknown as {
      reason: string | null
      restarts: number
    }[]
    const told = JSON.stringify(replicas)
    expect(told.includes('OutOfMemory') || replicas.some((replica) => replica.restarts > 0)).toBe(true)
    expect(before.replica).toBeTruthy()
    const { body } = await platform.expectApi([200], 'GET', '/services/app-oom/events')
    const event = { kind: 'ReplicaRestarted', reason: 'OutOfMemory', revision: 'app-oom-00001' }
    expect(body).toMatchObject({ items: [{ ...event, node: expect.stringMatching(/^[abc]$/) }] })
  })

  test('and ignores SIGTERM is killed after its grace when the service is deleted', async () => {
    used.push('app-deaf')
    await platform.deploy('app-deaf', { minScale: 1, env: { IGNORE_SIGTERM: '1' } })
    await platform.waitReady('app-deaf')
    await platform.remove('app-deaf')
  })

  test('and is slow to start is waited for', async () => {
    used.push('app-slow')
    const deployment = await platform.deploy('app-slow', {
      env: { START_DELAY_MS: '4000' },
      image: testImage,
    })
    expect(deployment.phase).toBe('succeeded')
    expect((await platform.request('app-slow')).status).toBe(200)
  })
})
