import { afterAll, describe, expect, inject, test } from 'vitest'
import { containersById, containersOf } from '../support/containers.ts'
import { connectPlatform } from '../support/platform.ts'
import { until } from '../support/poll.ts'

const platform = connectPlatform(inject('platform'))
const { engines, installation } = platform.connection

const rung = async (service: string) => (await platform.replicas(service))[0]?.rung ?? 'cold'

const waitForRung = (service: string, wanted: string) =>
  until(async () => (await rung(service)) === wanted, {
    timeoutMs: 90_000,
    describe: `${service} to be ${wanted}`,
  })

const appState = async (service: string) =>
  (await containersOf(engines, installation, service)).find((each) => each.Labels['berth.role'] !== 'sandbox')
    ?.State

afterAll(async () => {
  for (const name of ['lad-freeze', 'lad-park', 'lad-cold', 'lad-never', 'lad-min'])
    await platform.remove(name)
})

describe('an idle service', () => {
  test('freezes, and its next request thaws it with its memory intact', async () => {
    await platform.deploy('lad-freeze', {
      idle: { freezeAfterSeconds: 1, parkAfterSeconds: 'never', coldAfterSeconds: 'never' },
    })
    const before = (await platform.waitReady('lad-freeze')).json<{ pid: number; replica: string }>()
    await waitForRung('lad-freeze', 'frozen')
    await until(async () => (await appState('lad-freeze')) === 'paused', { describe: 'the app to be paused' })
    const answer = await platform.request('lad-freeze')
    expect(answer.status).toBe(200)
    expect(answer.json()).toMatchObject({ replica: before.replica, pid: before.pid })
  })

  test('parks: the app has ended, the sandbox stays, the next request starts it', async () => {
    await platform.deploy('lad-park', {
      idle: { freezeAfterSeconds: 'never', parkAfterSeconds: 1, coldAfterSeconds: 'never' },
    })
    await waitForRung('lad-park', 'parked')
    await until(async () => !['running', 'paused'].includes((await appState('lad-park')) ?? ''), {
      describe: 'the app to have ended',
    })
    const [replica] = await platform.replicas('lad-park')
    const sandbox = replica?.containers.filter(({ name }) => name === 'sandbox').map(({ id }) => id) ?? []
    expect(await containersById(engines, installation, sandbox)).toMatchObject([{ State: 'running' }])
    expect((await platform.request('lad-park')).status).toBe(200)
  })

  test('goes cold: nothing is left, and the next request brings it back', async () => {
    await platform.deploy('lad-cold', {
      idle: { freezeAfterSeconds: 1, parkAfterSeconds: 2, coldAfterSeconds: 3 },
    })
    await waitForRung('lad-cold', 'cold')
    await until(async () => (await containersOf(engines, installation, 'lad-cold')).length === 0, {
      timeoutMs: 60_000,
      describe: 'the containers to be gone',
    })
    const service = await platform.service('lad-cold')
    expect(service.status.conditions).toMatchObject([{ status: 'True' }])
    expect((await platform.request('lad-cold')).status).toBe(200)
  })

  test('with every rung switched off goes on running', async () => {
    await platform.deploy('lad-never', {
      idle: { freezeAfterSeconds: 'never', parkAfterSeconds: 'never', coldAfterSeconds: 'never' },
    })
    await platform.waitReady('lad-never')
    await waitForRung('lad-freeze', 'frozen')
    expect(await rung('lad-never')).toBe('running')
  })

  test('keeps minScale replicas running', async () => {
    await platform.deploy('lad-min', {
      minScale: 2,
      idle: { freezeAfterSeconds: 1, parkAfterSeconds: 2, coldAfterSeconds: 3 },
    })
    await until(async () => (await platform.replicas('lad-min')).filter(isReady).length === 2, {
      timeoutMs: 60_000,
      describe: 'two replicas to be ready',
    })
    await platform.request('lad-freeze')
    await waitForRung('lad-freeze', 'frozen')
    expect((await platform.replicas('lad-min')).filter(isReady)).toHaveLength(2)
  })
})

function isReady(replica: { state: string; rung: string }): boolean {
  return replica.state === 'ready' && replica.rung === 'running'
}
