import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, describe, expect, inject, test } from 'vitest'
import { startLoad } from '../support/load.ts'
import { connectPlatform, type DeploymentBody, type ServiceBody } from '../support/platform.ts'
import { until } from '../support/poll.ts'

const platform = connectPlatform(inject('platform'))

afterAll(async () => {
  for (const name of ['roll-steps', 'roll-hand', 'roll-crash', 'roll-late', 'roll-errors', 'roll-share'])
    await platform.remove(name)
})

/** What an app that fails every request says. */
const failing = { ECHO_STATUS: '500' }

type Rolling = DeploymentBody & {
  rollout: { percent: number } | null
  rolledBack: { reason: string; message: string } | null
}

/** A service that says "one" with one replica; then it is asked to say "two". */
async function update(
  name: string,
  rollout: Record<string, unknown>,
  env: Record<string, string> = {},
  meanwhile: () => Promise<void> = async () => {},
) {
  await platform.deploy(name, { minScale: 1, env: { MESSAGE: 'one' } })
  await platform.waitReady(name)
  await meanwhile()
  const { body } = await platform.expectApi([202], 'PATCH', `/services/${name}`, {
    rollout,
    env: { MESSAGE: 'two', ...env },
  })
  return (body as ServiceBody).deployment?.id ?? ''
}

async function read(deployment: string): Promise<Rolling> {
  const { body } = await platform.expectApi([200], 'GET', `/deployments/${deployment}`)
  return body as Rolling
}

const says = async (name: string) => (await platform.request(name)).json<{ message: string }>().message

describe('a gradual rollout', () => {
  test('under traffic loses no request, and tells each step', async () => {
    const rollout = { strategy: 'gradual', steps: [10, 50], intervalSeconds: 3 }
    const deployment = await update('roll-steps', rollout)
    const traffic = startLoad(() => platform.request('roll-steps'))
    const half = await until(
      async () => {
        const { rollout: progress } = await read(deployment)
        return progress?.percent === 50 && platform.service('roll-steps')
      },
      { timeoutMs: 60_000, describe: 'the second step' },
    )
    expect(half.status.traffic).toMatchObject([
      { revision: 'roll-steps-00001', percent: 50 },
      { revision: 'roll-steps-00002', percent: 50 },
    ])
    expect((await platform.waitForDeployment(deployment)).phase).toBe('succeeded')
    await until(async () => (await says('roll-steps')) === 'two')
    const { failures, sent } = await traffic.stop()
    expect(failures).toEqual([])
    expect(sent).toBeGreaterThan(100)
    const told = (await platform.events(deployment)).map(({ message }) => message)
    for (const step of ['routing 10 % to', 'every router sends 10 % to', 'routing 50 % to'])
      expect(told.some((message) => message.startsWith(step))).toBe(true)
  })
})

describe('a manual rollout', () => {
  test('serves nobody until it is promoted', async () => {
    const deployment = await update('roll-hand', { strategy: 'manual' })
    await until(async () => (await read(deployment)).rollout?.percent === 0, {
      timeoutMs: 60_000,
      describe: 'the new revision to wait',
    })
    for (let request = 0; request < 20; request += 1) expect(await says('roll-hand')).toBe('one')
    await platform.expectApi([202], 'POST', `/deployments/${deployment}/promote`, {})
    expect((await platform.waitForDeployment(deployment)).phase).toBe('succeeded')
    await until(async () => (await says('roll-hand')) === 'two')
  })
})

describe.concurrent('an image that crashes while it serves', () => {
  test('in a step of its rollout gives its traffic back, and the deployment says why', async () => {
    const rollout = { strategy: 'gradual', steps: [10], intervalSeconds: 300 }
    const deployment = await update('roll-crash', rollout, { EXIT_AFTER_MS: '1500' })
    const end = await platform.waitForDeployment(deployment)
    expect(end).toMatchObject({ phase: 'failed', reason: 'CrashLoop' })
    expect(end.message).toContain('roll-crash-00001 has back')
    await until(async () => (await platform.service('roll-crash')).status.traffic[0]?.percent === 100)
    for (let request = 0; request < 20; request += 1) expect(await says('roll-crash')).toBe('one')
  })

  test('right after it took all traffic over is rolled back, and the service says why', async () => {
    const deployment = await update('roll-late', { strategy: 'immediate' }, { EXIT_AFTER_MS: '1500' })
    expect((await platform.waitForDeployment(deployment)).phase).toBe('succeeded')
    await until(async () => (await read(deployment)).rolledBack?.reason === 'CrashLoop', {
      timeoutMs: 60_000,
      describe: 'the traffic to go back',
    })
    expect(await says('roll-late')).toBe('one')
    const condition = await until(async () => {
      const [found] = (await platform.service('roll-late')).status.conditions
      return found?.status === 'True' && found.message.includes('rolled back by itself') && found
    })
    expect(condition.message).toContain('CrashLoop')
  })
})

describe('a revision that fails its requests', () => {
  /** The revision before has to have shown that it does better: 20 requests are enough to tell. */
  const answers = (name: string) => async () => {
    for (let request = 0; request < 30; request += 1) expect((await platform.request(name)).status).toBe(200)
    // Routers report twice a second, and the leader keeps what it knows when the deployment begins.
    await delay(2000)
  }

  test('right after it took all traffic over is rolled back for its errors', async () => {
    const deployment = await update('roll-errors', {}, failing, answers('roll-errors'))
    expect((await platform.waitForDeployment(deployment)).phase).toBe('succeeded')
    const traffic = startLoad(() => platform.request('roll-errors'), { lanes: 2 })
    const { rolledBack } = await until(
      async () => {
        const found = await read(deployment)
        return found.rolledBack !== null && found
      },
      { timeoutMs: 60_000, describe: 'the traffic to go back' },
    )
    const { statuses } = await traffic.stop()
    expect(statuses['500']).toBeGreaterThanOrEqual(20)
    expect(rolledBack).toMatchObject({ reason: 'ErrorRate' })
    expect(rolledBack?.message).toMatch(
      /^roll-errors-00001 serves again: roll-errors-00002 failed \d+ of \d+ requests/,
    )
    await until(async () => (await platform.request('roll-errors')).status === 200)
    expect(await says('roll-errors')).toBe('one')
  })

  test('in a step of its rollout loses its share, and the deployment fails with both figures', async () => {
    const rollout = { strategy: 'gradual', steps: [50], intervalSeconds: 300 }
    const deployment = await update('roll-share', rollout, failing)
    const traffic = startLoad(() => platform.request('roll-share'), { lanes: 2 })
    const end = await platform.waitForDeployment(deployment)
    await traffic.stop()
    expect(end).toMatchObject({ phase: 'failed', reason: 'ErrorRate' })
    expect(end.message).toMatch(/failed \d+ of \d+ requests \(\d+ %\), the revision before 0 of/)
    await until(async () => (await platform.service('roll-share')).status.traffic[0]?.percent === 100)
    await until(async () => (await says('roll-share')) === 'one')
    for (let request = 0; request < 20; request += 1) expect(await says('roll-share')).toBe('one')
  })
})
