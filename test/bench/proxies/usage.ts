import { readFileSync } from 'node:fs'
import type { RunningProxy } from './proxy.ts'

/** `getconf CLK_TCK` on every Linux that Node runs on. */
const ticksPerSecond = 100
const pageBytes = 4096

/** User and system time of a proxy so far, in seconds. */
export function cpuSeconds({ pids }: RunningProxy): number {
  return sum(pids, (pid) => {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    // Fields 14 and 15; the name of the program, the second, may hold blanks.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond
  })
}

/** Memory of a proxy that is in RAM, in bytes; what the kernel keeps for its sockets is not in it. */
export function residentBytes({ pids }: RunningProxy): number {
  return sum(pids, (pid) => {
    const status = readFileSync(`/proc/${pid}/status`, 'latin1')
    return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024
  })
}

/** Memory that the kernel of this machine uses for itself, sockets and their buffers among it, in bytes. */
export function kernelBytes(): number {
  const slab = /^Slab:\s+(\d+) kB$/m.exec(readFileSync('/proc/meminfo', 'latin1'))?.[1]
  const tcpPages = /^TCP: .* mem (\d+)$/m.exec(readFileSync('/proc/net/sockstat', 'latin1'))?.[1]
  return Number(slab) * 1024 + Number(tcpPages) * pageBytes
}

function sum(pids: readonly number[], of: (pid: number) => number): number {
  return pids.reduce((total, pid) => total + of(pid), 0)
}
