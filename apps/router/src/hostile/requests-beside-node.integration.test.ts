import fc from 'fast-check'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { readMessages } from '../testing/messages.ts'
import { nodeReadsRequests, type ReadRequest } from '../testing/node-requests.ts'
import { aConnection, anyConnection } from '../testing/requests.ts'
import { arrivedIn, statusesIn } from './verdicts.ts'
import { startWatchedEdge, type WatchedEdge } from './watched-edge.ts'

/*
 * The whole router beside Node's own server, with the same bytes for both: what one of them takes for a request, and
 * the other one does not, is what a smuggler looks for.
 */

let watched: WatchedEdge
beforeAll(async () => {
  watched = await startWatchedEdge()
  watched.answer = () => 'HTTP/1.1 204 No Content\r\n\r\n'
})
afterAll(() => watched.close())

/** The same connections every time; `npm run fuzz:router` tries many more, and others each time. */
const wanted = process.env['BERTH_FUZZ_RUNS']
const parameters = (numRuns: number) =>
  wanted === undefined ? { numRuns, seed: 9112 } : { numRuns: Number(wanted) }

/** In the words of `arrivedIn`; an absolute target arrives as its path. */
const saidOf = ({ method, target, body }: ReadRequest): [string, string] => [
  `${method} ${target.replace(/^http:\/\/[^/]*/i, '') || '/'}`,
  body,
]

/** What of `few` is not found in `many`, one behind the other. */
function beyond<Each>(few: readonly Each[], many: readonly Each[]): Each[] {
  let at = 0
  return few.filter((each) => {
    const found = many.findIndex((other, i) => i >= at && JSON.stringify(other) === JSON.stringify(each))
    if (found >= 0) at = found + 1
    return found < 0
  })
}

let forwarded = 0
beforeEach(() => {
  forwarded = 0
})

test('what the router passes on, Node has read as well, and reads again at the other end', async () => {
  await fc.assert(
    fc.asyncProperty(anyConnection, async ({ bytes, pieces }) => {
      const nodes = await nodeReadsRequests(bytes)
      const leaving =
        nodes.end === 'waits' ? { leaves: 'resets' as const, enough: nodes.requests.length } : {}
      const seen = await watched.send(pieces, { isQuick: true, ...leaving })
      expect(beyond(arrivedIn(seen), nodes.requests.map(saidOf))).toEqual([])
      expect(seen.closed).toBe(true)
      // A refusal of a HEAD has a length and no body.
      if (!bytes.includes('HEAD')) expect(seen.leftOver).toBe('')
      expect(statusesIn(seen).filter((status) => status >= 500)).toEqual([])
      for (const bytes of seen.bytes) {
        const again = await nodeReadsRequests(bytes)
        expect(again.requests.map(saidOf)).toEqual(
          arrivedIn({ ...seen, requests: readMessages(bytes).messages }),
        )
      }
      forwarded += seen.requests.length
    }),
    parameters(250),
  )
  // It would be easy to pass nothing on.
  expect(forwarded).toBeGreaterThan(60)
})

/** A WebSocket has the connection for itself, also when the app does not agree to it. */
const aPlainConnection = aConnection.filter(({ bytes }) => !bytes.includes('websocket'))

test('all of a well formed connection is passed on', async () => {
  await fc.assert(
    fc.asyncProperty(aPlainConnection, async ({ bytes, pieces }) => {
      const nodes = await nodeReadsRequests(bytes)
      const seen = await watched.send(pieces, { isQuick: true })
      expect(arrivedIn(seen)).toEqual(nodes.requests.map(saidOf))
      expect(statusesIn(seen).filter((status) => status !== 100)).toEqual(nodes.requests.map(() => 204))
      expect(seen.unfinished).toEqual([])
    }),
    parameters(60),
  )
})
