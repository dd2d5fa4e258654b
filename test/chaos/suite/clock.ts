import { until, type PollOptions } from '../../support/poll.ts'

/** Milliseconds since 1970 that never go back, comparable between processes of one machine. */
export function nowMs(): number {
  return performance.timeOrigin + performance.now()
}

/** Waits until `check` answers with something, and tells how many ms after `since` (`nowMs`) that was. */
export async function msUntil(
  since: number,
  check: () => unknown,
  options: PollOptions & { describe: string },
): Promise<number> {
  await until(async () => Boolean(await check()), { intervalMs: 50, timeoutMs: 60_000, ...options })
  return nowMs() - since
}

/** The longest of some times, undefined where there is none. */
export function longest(times: readonly number[]): number | undefined {
  return times.length === 0 ? undefined : Math.max(...times)
}
