import { startApp, type App } from './edge.ts'

export type CountingOrigin = App & {
  /** The most requests that it has had at once. */
  peak(): number
  inFlight(): number
  seen(): number
}

/**
 * An app that counts what it has at once. It is at work on a request for the milliseconds in its path, `/<ms>`. With
 * `goesOn` also when its client has left, as apps do. Else until it hears of that, which it may do after the router has
 * freed the slot: so requests of clients that are going to leave, `/<ms>?leaves`, do not count.
 */
export async function startCountingOrigin({ goesOn }: { goesOn: boolean }): Promise<CountingOrigin> {
  let inFlight = 0
  let peak = 0
  let seen = 0
  const app = await startApp((incoming, response) => {
    const { socket, url = '/0' } = incoming
    const counts = url.endsWith('?leaves') && !goesOn ? 0 : 1
    incoming.resume()
    inFlight += counts
    seen += 1
    // Whoever left before is told of in the same turn.
    setImmediate(() => {
      peak = Math.max(peak, inFlight)
    })
    const over = () => {
      clearTimeout(timer)
      for (const event of ['end', 'error']) socket.off(event, over)
      inFlight -= counts
    }
    const timer = setTimeout(
      () => {
        over()
        response.end('done')
      },
      Number.parseInt(url.slice(1), 10),
    )
    // Long before the response is told that its connection is closed.
    if (!goesOn) for (const event of ['end', 'error']) socket.once(event, over)
  })
  return { ...app, peak: () => peak, inFlight: () => inFlight, seen: () => seen }
}
