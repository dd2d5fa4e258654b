import { readFileSync } from 'node:fs'
import type { RunningProxy } from './proxy.ts'

/** `getconf CLK_TCK` on every Linux that Node runs on. */
const ticksPerSecond = 100

/** User and system time of a proxy so far, in seconds. */
export function cpuSeconds({ pids }: RunningProxy): number {
  return sum(pids, (pid) => {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    // Fields 14 and 15; the name of the program, the second, may hold blanks.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond
  })
}

function sum(pids: readonly number[], of: (pid: number) => number): number {
  return pids.reduce((total, pid) => total + of(pid), 0)
}
