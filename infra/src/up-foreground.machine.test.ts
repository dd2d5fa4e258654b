import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { until } from '../../test/support/poll.ts'
import { type BerthMachine, startBerthMachine } from './testing/berth-machine.ts'

let berth: BerthMachine

beforeEach(async () => {
  berth = await startBerthMachine()
})

afterEach(() => berth.close())

/** The pid there of the `up` that stays. */
async function pidOfUp(): Promise<number> {
  const { output } = await berth.machine.run(['ps', '-e', '-o', 'pid=,args='])
  const pid = /^\s*(\d+) .*main\.ts up --foreground$/m.exec(output)?.[1]
  if (pid === undefined) throw new Error(`no up in ${output}`)
  return Number(pid)
}

const ready = () =>
  until(async () => (await berth.status())?.phase === 'ready', { describe: 'Berth to be ready' })

describe('up --foreground', () => {
  test('stays, takes everything down on SIGTERM, and that is no failure', async () => {
    const up = berth.begin(['up', '--foreground'])
    await ready()
    expect((await berth.processes()).size).toBe(7)
    await berth.signal('TERM', await pidOfUp())
    expect(await up.ended).toMatchObject({ code: 0, errors: '' })
    expect(await berth.processes()).toEqual(new Map())
  })

  test.each(['supervisor', 'api'])(
    'is taken down in the middle of its start, when there is %s already, and leaves nothing',
    async (name) => {
      const up = berth.begin(['up', '--foreground'])
      await until(async () => (await berth.processes()).has(name), { describe: name, intervalMs: 1 })
      await berth.signal('TERM', await pidOfUp())
      const { code, output, errors } = await up.ended
      expect({ code, errors }).toEqual({ code: 0, errors: '' })
      expect(output).not.toContain('Berth is up.')
      expect(await berth.processes()).toEqual(new Map())
    },
  )

  test('ends well when somebody else takes Berth down', async () => {
    const up = berth.begin(['up', '--foreground'])
    await ready()
    // The way down waits for the lock of a start that is not over yet.
    await until(async () => (await berth.berth(['down'])).code === 0)
    expect(await up.ended).toMatchObject({ code: 0, errors: '' })
  })

  test('fails when the supervisor is killed, so that whoever started it does so again', async () => {
    const up = berth.begin(['up', '--foreground'])
    await ready()
    await berth.signal('KILL', (await berth.processes()).get('supervisor') ?? 0)
    const { code, errors } = await up.ended
    expect(code).toBe(1)
    expect(errors).toMatch(/^berth: The supervisor has ended; see .*supervisor\.log\.\n$/)
  })
})
