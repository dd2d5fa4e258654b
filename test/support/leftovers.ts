import { execFile } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { promisify } from 'node:util'
import { identify, isAlive, type ProcessIdentity, signal } from '../../infra/src/machine/process-identity.ts'
import { stopLeftovers } from '../../infra/src/supervisor/process-record.ts'
import { partitionMark, removeRules } from './partition-rules.ts'
import { until } from './poll.ts'
import type { SlotRecord } from './slot.ts'

const run = promisify(execFile)

/**
 * Removes what a test run has made: supervisors with their processes, engines and their containers, rules of the
 * packet filter, mounts, bridges, links, network namespaces, and the folder. Fine to call when parts are gone.
 */
export async function removeLeftovers(folder: string, slot: number, record: SlotRecord): Promise<void> {
  for (const file of record.processFiles) {
    await stopLeftovers(file)
    await rm(runFolderAbove(file), { recursive: true, force: true })
  }
  await killBelow(folder)
  await removeRules(partitionMark(slot))
  for (const path of mountsBelow(folder).toReversed()) await quietly('umount', ['--lazy', path])
  for (const name of record.namespaces) await quietly('ip', ['netns', 'delete', name])
  const networks = await bridgesOf(slot)
  for (const name of [...record.links, ...record.bridges, ...networks])
    await quietly('ip', ['link', 'delete', name])
  await rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 })
}

/** `/run/berth-<hash>` of `/run/berth-<hash>/control/processes.json`. */
function runFolderAbove(processFile: string): string {
  return dirname(dirname(processFile))
}

/**
 * Ends every process whose command line names `folder` (engines, containerd, shims, proxies), and those that
 * descend from them (the containers): collected before the first one is killed, since orphans lose their parent.
 */
async function killBelow(folder: string): Promise<void> {
  const targets = processesBelow(folder)
  for (const target of targets) signal(target, 'SIGKILL')
  await until(() => targets.every((target) => !isAlive(target)), { describe: 'processes to end' })
}

function processesBelow(folder: string): ProcessIdentity[] {
  const parents = new Map<number, number>()
  const found = new Set<number>()
  for (const name of readdirSync('/proc')) {
    const pid = Number(name)
    if (!Number.isInteger(pid)) continue
    const parent = /^PPid:\t(\d+)$/m.exec(readText(`/proc/${pid}/status`))?.[1]
    parents.set(pid, Number(parent ?? 0))
    if (readText(`/proc/${pid}/cmdline`).includes(`${folder}/`)) found.add(pid)
  }
  found.delete(process.pid)
  const descends = (pid: number): boolean => {
    for (let at = pid; at > 1; at = parents.get(at) ?? 0) if (found.has(at)) return true
    return false
  }
  return [...parents.keys()]
    .filter((pid) => pid !== process.pid && descends(pid))
    .flatMap((pid) => identify(pid) ?? [])
}

function mountsBelow(folder: string): string[] {
  const lines = readText('/proc/self/mounts').split('\n')
  return lines.flatMap((line) => {
    const path = line.split(' ')[1]
    return path?.startsWith(`${folder}/`) === true ? [path] : []
  })
}

/**
 * The bridges that engines have made for networks of replicas: an engine that is gone leaves them behind, and with
 * them routes that would catch the packets of the next run. Told by their address, 198.19.<32 slot>.0/19.
 */
async function bridgesOf(slot: number): Promise<string[]> {
  const { stdout } = await run('ip', ['-json', '-4', 'address', 'show', 'type', 'bridge'])
  const bridges = JSON.parse(stdout) as { ifname?: string; addr_info?: { local: string }[] }[]
  return bridges.flatMap(({ ifname, addr_info: addresses = [] }) => {
    const ours = addresses.some(({ local }) => {
      const [first, second, third] = local.split('.').map(Number)
      return first === 198 && second === 19 && Math.floor((third ?? 0) / 32) === slot
    })
    return ifname !== undefined && ours ? [ifname] : []
  })
}

async function quietly(file: string, args: readonly string[]): Promise<void> {
  await run(file, [...args]).catch(() => undefined)
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
