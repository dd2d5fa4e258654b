import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { createServer } from 'node:net'
import { codeOf } from '../failure.ts'

/** What happened when `port` of `host` was listened on for a moment; `absent` when the machine has no such address. */
export type PortState = 'free' | 'taken' | 'forbidden' | 'absent'

const stateOfCode: Record<string, PortState> = {
  EADDRINUSE: 'taken',
  EACCES: 'forbidden',
  EADDRNOTAVAIL: 'absent',
  EAFNOSUPPORT: 'absent',
}

/** Rejects with a system error of any other kind. */
export function portState(port: number, host: string): Promise<PortState> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', (error) => {
      const state = stateOfCode[codeOf(error) ?? '']
      if (state === undefined) reject(error)
      else resolve(state)
    })
    server.listen({ port, host }, () => server.close(() => resolve('free')))
  })
}

/** "nginx (pid 812)" for whoever listens on `port`, or undefined when that cannot be seen from here. */
export function portHolder(port: number): string | undefined {
  const inodes = new Set(
    ['tcp', 'tcp6'].flatMap((table) => listeningInodes(readText(`/proc/net/${table}`), port)),
  )
  if (inodes.size === 0) return undefined
  for (const pid of readdirSync('/proc')) {
    if (!/^[0-9]+$/.test(pid)) continue
    if (!descriptors(pid).some((target) => inodes.has(target))) continue
    return `${programName(pid)} (pid ${pid})`
  }
  return undefined
}

/** The command's name; for Node, which calls every program the same, with the script that it runs. */
function programName(pid: string): string {
  const name = readText(`/proc/${pid}/comm`).trim()
  const [, script] = readText(`/proc/${pid}/cmdline`).split('\0')
  return name.startsWith('node') && script?.includes('/') === true ? `node ${script}` : name
}

/** The sockets ("socket:[123]") in a table of /proc/net that listen (state 0A) on `port`. */
export function listeningInodes(table: string, port: number): string[] {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, '0')}`
  const found: string[] = []
  for (const line of table.split('\n').slice(1)) {
    const fields = line.trim().split(/\s+/)
    if (fields[1]?.endsWith(suffix) && fields[3] === '0A') found.push(`socket:[${fields[9]}]`)
  }
  return found
}

function descriptors(pid: string): string[] {
  try {
    return readdirSync(`/proc/${pid}/fd`).map((fd) => {
      try {
        return readlinkSync(`/proc/${pid}/fd/${fd}`)
      } catch {
        return ''
      }
    })
  } catch {
    return []
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
