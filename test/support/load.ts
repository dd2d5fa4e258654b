import type { EdgeAnswer } from './edge.ts'

/** What became of requests that were sent while something else happened. */
export type LoadResult = { sent: number; statuses: Record<string, number>; failures: string[] }

/**
 * Sends requests one after the other in `lanes` lanes until `stop()` is called, at most `limit` in all. A status
 * other than 200, or a broken connection, is a failure and is described.
 */
export function startLoad(
  send: () => Promise<EdgeAnswer>,
  options: { lanes?: number; limit?: number } = {},
): { stop(): Promise<LoadResult>; sent(): number } {
  const { lanes = 4, limit = 50_000 } = options
  const result: LoadResult = { sent: 0, statuses: {}, failures: [] }
  let stopped = false

  async function lane(): Promise<void> {
    while (!stopped && result.sent < limit) {
      result.sent += 1
      const outcome = await send().then(
        (answer) => ({ status: String(answer.status), text: answer.text().slice(0, 300) }),
        (error: unknown) => ({ status: 'broken', text: String(error) }),
      )
      result.statuses[outcome.status] = (result.statuses[outcome.status] ?? 0) + 1
      if (outcome.status !== '200' && result.failures.length < 20)
        result.failures.push(`${outcome.status} ${outcome.text}`)
    }
  }

  const running = Promise.all(Array.from({ length: lanes }, lane))
  return {
    sent: () => result.sent,
    async stop() {
      stopped = true
      await running
      return result
    },
  }
}
