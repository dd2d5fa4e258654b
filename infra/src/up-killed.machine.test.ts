import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { until } from '../../test/support/poll.ts'
import { type BerthMachine, startBerthMachine } from './testing/berth-machine.ts'

let berth: BerthMachine

beforeEach(async () => {
  berth = await startBerthMachine()
})

afterEach(() => berth.close())

const has = (file: string) => Promise.resolve(berth.machine.exists(join(berth.data, file)))
const runs = async (name: string) => (await berth.processes()).has(name)

/** Where the first start stands when it is killed, from its first trace to its last step. */
const moments: [string, () => Promise<boolean>][] = [
  ['there is a key', () => has('master.key')],
  ['the database is made', () => has('postgres.new')],
  ['the router runs', () => runs('router')],
]

describe('a first up that is killed when', () => {
  test.each(moments)('%s is finished by the next', async (_, reached) => {
    const cut = berth.begin(['up'])
    await until(reached, { describe: 'the moment', intervalMs: 1 })
    cut.kill()
    const left = await berth.processes()
    const supervisor = left.get('supervisor')
    if (supervisor !== undefined) await berth.signal('KILL', supervisor)
    await cut.ended

    expect(await berth.berth(['up'])).toMatchObject({ code: 0, errors: '' })
    const now = await berth.processes()
    expect([...now.keys()].sort()).toEqual([
      'api',
      'postgres',
      'redis',
      'registry',
      'router',
      'supervisor',
      'worker',
    ])
    for (const [name, pid] of left) expect(now.get(name)).not.toBe(pid)
    expect(readFileSync(berth.machine.path(join(berth.data, 'installation-id')), 'utf8')).toMatch(
      /^[0-9a-f]{8}\n$/,
    )
    expect(berth.machine.exists(join(berth.data, 'postgres.new'))).toBe(false)
  })
})

test('an up that alone is killed is joined by the next, which starts nothing twice', async () => {
  const cut = berth.begin(['up'])
  await until(() => runs('postgres'), { describe: 'Postgres', intervalMs: 1 })
  cut.kill()
  await cut.ended
  const before = (await berth.processes()).get('postgres')
  expect(await berth.berth(['up'])).toMatchObject({ code: 0, errors: '' })
  expect((await berth.processes()).get('postgres')).toBe(before)
})
