import { afterAll, beforeAll, expect, test } from 'vitest'
import { until } from '../../test/support/poll.ts'
import { callHttp } from './http-call.ts'
import { portState } from './machine/port-holder.ts'
import { type BerthMachine, startBerthMachine } from './testing/berth-machine.ts'

/*
 * The real commands with real stores and stand-in apps, as root types them. The project lies in a folder that only
 * its owner may enter, as a clone in /root does.
 */

let berth: BerthMachine

beforeAll(async () => {
  berth = await startBerthMachine()
})

afterAll(() => berth.close())

test('up starts everything once; a second up changes nothing; down ends it all', async () => {
  const first = await berth.berth(['up'])
  expect(first).toMatchObject({ code: 0, errors: '' })
  expect(first.output).toContain('Berth is up.')
  const status = await berth.status()
  expect(status?.phase).toBe('ready')
  expect(status?.processes.map(({ name, state }) => `${name} ${state}`)).toEqual([
    'postgres ready',
    'redis ready',
    'registry ready',
    'api ready',
    'worker ready',
    'router ready',
  ])
  const before = await berth.processes()
  expect((await berth.berth(['up'])).code).toBe(0)
  expect(await berth.processes()).toEqual(before)
  expect((await berth.berth(['status'])).output).toContain('is ready.')

  // The router is a user of its own, also in a folder that this user may not enter.
  expect(await askEdge()).toBe('65532')
  expect(await berth.berth(['restart', 'router'])).toMatchObject({ code: 0, errors: '' })
  await until(async () => (await berth.processes()).get('router') !== before.get('router'))
  expect(await askEdge()).toBe('65532')

  expect(await berth.berth(['down'])).toMatchObject({ code: 0, errors: '' })
  expect(await berth.processes()).toEqual(new Map())
  for (const port of Object.values(berth.ports)) expect(await portState(port, '127.0.0.1')).toBe('free')
  expect((await berth.berth(['status'])).errors).toBe(
    'berth: Berth is not running; start it with ./berth up.\n',
  )
})

test('a port that is taken is named with its variable and its holder', async () => {
  const { api } = berth.ports
  const held = `() => require('node:fs').writeFileSync('/held', '')`
  const listen = `require('node:net').createServer().listen(${api}, '127.0.0.1', ${held})`
  const holder = berth.machine.begin([process.execPath, '-e', listen])
  // Looking at the port itself would take it for a moment, and away from the holder.
  await until(() => berth.machine.exists('/held'), { describe: 'the port to be held' })
  const refused = await berth.berth(['up'])
  holder.kill()
  await holder.ended
  expect(refused.code).toBe(1)
  expect(refused.errors).toMatch(
    new RegExp(`^berth: Port ${api} for the API is taken by node.* \\(pid \\d+\\); .*BERTH_API_PORT`),
  )
  expect(refused.errors.trim().split('\n')).toHaveLength(1)
  expect(await berth.processes()).toEqual(new Map())
})

async function askEdge(): Promise<string> {
  return (await callHttp({ target: { port: berth.ports.edge }, path: '/' })).body
}
