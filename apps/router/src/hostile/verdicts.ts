import { expect } from 'vitest'
import { valuesOf } from '../testing/messages.ts'
import type { Seen } from './watched-edge.ts'

/*
 * How a case may end: a 4xx that closes the connection while the replica saw nothing, or exactly one well framed
 * request that arrived. Each verdict looks at both sides.
 */

/** One answer of the router, with which the connection ends, and no byte at the replica. */
export function expectRefused(seen: Seen, status: number): void {
  expectOnlyAnswer(seen, status)
  expect(seen.requests).toEqual([])
  expect(seen.unfinished).toEqual([])
}

/** What is noticed in a body: its begin may have reached the replica, but never becomes a request. */
export function expectNeverWhole(seen: Seen, status: number): void {
  expectOnlyAnswer(seen, status)
  expect(seen.requests).toEqual([])
}

/** The app has answered them all, and exactly these requests arrived, such as `['POST /x', 'with this body']`. */
export function expectArrived(seen: Seen, ...requests: [start: string, body?: string][]): void {
  expect(arrivedIn(seen)).toEqual(requests.map(([start, body = '']) => [start, body]))
  expect(seen.unfinished).toEqual([])
  expect(statusesIn(seen)).toEqual(requests.map(() => 200))
  expect(seen.leftOver).toBe('')
  expect(seen.closed).toBe(true)
}

/** Refused or arrived: a recipient may do either (RFC 9112, 2.2 and 3), but nothing in between. */
export function expectRefusedOrArrived(seen: Seen, ...request: [start: string, body?: string]): void {
  if (seen.requests.length > 0) expectArrived(seen, request)
  else expectRefused(seen, 400)
}

export function statusesIn({ answers }: Seen): number[] {
  return answers.map(({ start }) => Number(start.split(' ')[1]))
}

/** The requests that arrived, as start and body. */
export function arrivedIn({ requests }: Seen): [string, string][] {
  return requests.map(({ start, body }) => [start.replace(/ HTTP\/1\.1$/, ''), body])
}

/** The names of all fields that arrived, lower case. */
export function namesIn({ requests }: Seen): string[] {
  return requests.flatMap(({ fields }) => fields.map(([name]) => name.toLowerCase()))
}

function expectOnlyAnswer(seen: Seen, status: number): void {
  expect(statusesIn(seen)).toEqual([status])
  const [answer] = seen.answers
  if (!answer) return
  expect(valuesOf(answer, 'connection').map((value) => value.toLowerCase())).toEqual(['close'])
  expect(valuesOf(answer, 'content-type')).toEqual(['application/problem+json'])
  expect(seen.leftOver).toBe('')
  expect(seen.closed).toBe(true)
}
