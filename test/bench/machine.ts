import { execFileSync } from 'node:child_process'
import { availableParallelism, loadavg } from 'node:os'

/** Processor of the proxies, which take turns on it. */
export const proxyCore = '0'
/** Processor of the clients and of the app: this process and what it starts for them. */
export const loadCore = '1'

/** Moves this process to its processor, and sees to it that it ends after `minutes` whatever stands still. */
export function prepareProcess(minutes: number): void {
  if (availableParallelism() < 2) throw new Error('the benchmark needs two processors')
  execFileSync('taskset', ['-a', '-c', '-p', loadCore, String(process.pid)], { stdio: 'ignore' })
  setTimeout(() => {
    console.error(`The benchmark has not ended within ${minutes} minutes.`)
    process.exit(1)
  }, minutes * 60_000).unref()
}

export function loadOfMachine(): string {
  return loadavg()
    .map((each) => each.toFixed(1))
    .join(', ')
}
