import { afterAll, beforeAll, expect, test } from 'vitest'
import { callHttp } from './http-call.ts'
import { type BerthMachine, startBerthMachine } from './testing/berth-machine.ts'

/* The commands as a user without rights types them, from a clone in her home. */

let berth: BerthMachine

beforeAll(async () => {
  berth = await startBerthMachine({ owner: 'ada' })
})

afterAll(() => berth.close())

test('up, status and down need no root', async () => {
  expect(await berth.berth(['up'])).toMatchObject({ code: 0, errors: '' })
  const status = await berth.status()
  expect(status?.phase).toBe('ready')
  expect(status?.processes.map(({ name }) => name)).toEqual([
    'postgres',
    'redis',
    'registry',
    'api',
    'worker',
    'router',
  ])
  expect((await callHttp({ target: { port: berth.ports.edge }, path: '/' })).body).toBe('4711')
  expect(await berth.berth(['down'])).toMatchObject({ code: 0, errors: '' })
  expect(await berth.processes()).toEqual(new Map())
})

test('a port below 1024 is refused with the variable that moves it', async () => {
  // A new network has the kernel's own limit, whatever that of this machine is.
  const asAda = ['unshare', '--net', 'setpriv', '--reuid=4711', '--regid=4711', '--clear-groups']
  const env = { BERTH_EDGE_PORT: '80', BERTH_LOCAL_NODE: 'none' }
  const command = [...asAda, process.execPath, `${berth.project}/infra/src/main.ts`, 'up']
  expect(await berth.machine.run(command, { env })).toEqual({
    code: 1,
    output: '',
    errors:
      'berth: ada may not listen on port 80 for the services; set BERTH_EDGE_PORT to 1024 or higher, or start Berth as root.\n',
  })
})

test('what belongs to somebody else is left to them, by every command', async () => {
  await berth.machine.run(['mkdir', '-m', '755', '/srv/theirs'])
  for (const words of [['up'], ['down'], ['status'], ['restart', 'api'], ['backup', '/tmp']])
    expect(await berth.berth(words, { BERTH_DATA: '/srv/theirs' })).toEqual({
      code: 1,
      output: '',
      errors:
        'berth: /srv/theirs belongs to root; run ./berth as root, or set BERTH_DATA to another folder.\n',
    })
})
