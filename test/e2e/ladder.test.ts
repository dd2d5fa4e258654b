import { afterAll, describe, expect, inject, test } from 'vitest'
import { callHttp } from '../../infra/src/http-call.ts'
import { containersOf } from '../support/containers.ts'
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

/** Apps are held where there is a program for the processor. */
const waiting = process.arch === 'x64' ? 'app running,past exited' : 'app exited'

/** What an app can see of how it was started. */
const factsOf = (service: string) =>
  Promise.all(
    ['environ', 'cmdline', 'limits'].map(async (fact) => {
      const answer = await platform.request(service, { path: `/read?path=/proc/self/${fact}` })
      expect(answer.status).toBe(200)
      return answer.text()
    }),
  )

/** The app containers of a service by the end of their names, with their states. */
const statesOf = async (service: string) =>
  (await containersOf(engines, installation, service))
    .filter((each) => each.Labels['berth.role'] === 'app')
    .map(({ Names, State }) => `${Names[0]?.split('-').at(-1)} ${State}`)
    .toSorted()

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

  test('parks: the app has ended, another one waits, and the next request only has to let it go', async () => {
    await platform.deploy('lad-park', {
      idle: { freezeAfterSeconds: 'never', parkAfterSeconds: 1, coldAfterSeconds: 'never' },
    })
    await platform.waitReady('lad-park')
    const before = await factsOf('lad-park')
    await platform.request('lad-park', { path: '/log?line=before-it-parked' })
    for (let times = 0; times < 2; times += 1) {
      await waitForRung('lad-park', 'parked')
      await until(async () => (await statesOf('lad-park')).join() === waiting, {
        describe: 'another app to wait beside the one that has ended',
      })
      expect(await rung('lad-park')).toBe('parked')
      expect(await factsOf('lad-park')).toEqual(before)
    }
    const { body } = await callHttp({
      target: { port: platform.connection.ports.api },
      path: '/services/lad-park/logs',
      headers: { authorization: `Bearer ${platform.connection.token}`, accept: 'text/plain' },
      timeoutMs: 30_000,
    })
    expect(body).toContain('before-it-parked')
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
