import { execFile } from 'node:child_process'
import { isIPv4 } from 'node:net'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** The comment by which the rules of one slot are told from others. */
export function partitionMark(slot: number): string {
  return `berth-chaos-${slot}`
}

/**
 * Drops every packet to and from a loopback address: all of them pass OUTPUT, so two rules there cut it off in both
 * directions. Throws for any other address.
 */
export async function addRules(mark: string, address: string): Promise<void> {
  if (!isIPv4(address) || !address.startsWith('127.'))
    throw new Error('only loopback addresses may be cut off')
  for (const side of ['--source', '--destination'])
    await filter(
      '--insert',
      'OUTPUT',
      side,
      address,
      '--match',
      'comment',
      '--comment',
      mark,
      '--jump',
      'DROP',
    )
}

/** The rules that carry `mark`, of one address or of all, as iptables prints them. */
export async function readRules(mark: string, address?: string): Promise<string[]> {
  const lines = (await filter('--list-rules', 'OUTPUT')).split('\n')
  return lines
    .filter((line) => line.startsWith('-A ') && line.includes(` --comment ${mark} `))
    .filter((line) => address === undefined || line.includes(` ${address}/32 `))
}

/** Fine when there are none, and where there is no packet filter at all. */
export async function removeRules(mark: string, address?: string): Promise<void> {
  const rules = await readRules(mark, address).catch(() => [])
  for (const rule of rules) await filter('--delete', ...rule.split(' ').slice(1))
}

async function filter(...args: string[]): Promise<string> {
  const { stdout } = await run('iptables', ['--wait', ...args])
  return stdout
}
