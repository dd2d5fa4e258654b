import { execFile } from 'node:child_process'
import { isIPv4 } from 'node:net'
import { promisify } from 'node:util'
import { messageOf } from '../../../infra/src/failure.ts'

export type GuardOrder = { id: number; verb: 'cut' | 'mend'; address: string }
export type GuardAnswer = { id: number; problem: string | null }

/*
 * Keeps the packet filter's rules of one suite: every packet of the loopback network passes OUTPUT, so two rules
 * there cut an address off in both directions. When the suite's end of the channel closes, by whatever kind of end,
 * all rules are removed and the guard ends. Signals that a terminal sends to everybody do not reach it.
 */

const run = promisify(execFile)
const mark = process.argv[2] ?? ''
const cut = new Set<string>()

function rules(address: string): string[][] {
  const rest = ['--match', 'comment', '--comment', mark, '--jump', 'DROP']
  return [
    ['OUTPUT', '--destination', address, ...rest],
    ['OUTPUT', '--source', address, ...rest],
  ]
}

async function filter(verb: '--insert' | '--delete', rule: readonly string[]): Promise<void> {
  await run('iptables', ['--wait', verb, ...rule])
}

async function carryOut({ verb, address }: GuardOrder): Promise<void> {
  if (!isIPv4(address) || !address.startsWith('127.'))
    throw new Error('only loopback addresses may be cut off')
  if (verb === 'cut' && !cut.has(address)) {
    cut.add(address)
    for (const rule of rules(address)) await filter('--insert', rule)
  }
  if (verb === 'mend') await mend(address)
}

async function mend(address: string): Promise<void> {
  if (!cut.has(address)) return
  for (const rule of rules(address)) await filter('--delete', rule).catch(() => undefined)
  cut.delete(address)
}

/** What a guard of the same mark has left that was killed itself. */
async function sweep(): Promise<void> {
  const { stdout } = await run('iptables', ['--wait', '--list-rules', 'OUTPUT'])
  for (const line of stdout.split('\n')) {
    if (!line.startsWith('-A ') || !line.includes(`--comment ${mark} `)) continue
    await run('iptables', ['--wait', '--delete', ...line.split(' ').slice(1)])
  }
}

let work = sweep()

process.on('message', (order: GuardOrder) => {
  work = work
    .then(() => carryOut(order))
    .then(() => null, messageOf)
    .then((problem) => {
      process.send?.({ id: order.id, problem } satisfies GuardAnswer)
    })
})

async function leave(): Promise<void> {
  await work.catch(() => undefined)
  for (const address of cut) await mend(address)
  process.exit(0)
}

process.once('disconnect', () => void leave())
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined)
