import type { Duplex, Readable } from 'node:stream'

/** One request to a replica. `headers` is a flat list of names and values without any hop-by-hop header. */
export type UpstreamRequest = {
  method: string
  path: string
  headers: readonly string[]
  body: Readable | null
  /** Asks to switch to WebSocket. */
  upgrade: boolean
}

/**
 * Why a replica gave no (whole) answer. `written` is false when no byte of the request can have reached it,
 * `received` is true when a byte of an answer came back.
 * connect: no connection. exhausted: no connection, for want of something on this side. died: the connection ended or broke. protocol: what came is not HTTP.
 * refused: the replica turned this one request down, or broke it off, and lives on (HTTP/2 only).
 */
export type UpstreamFailure = {
  kind: 'connect' | 'exhausted' | 'died' | 'protocol' | 'refused'
  written: boolean
  received: boolean
  message: string
}

/** What becomes of a request. Nothing more is called after `end`, `upgraded`, `failed` or an abort by the caller. */
export type UpstreamListener = {
  head(status: number, statusText: string, headers: string[]): void
  /**
   * Returns false to be asked for no more until `resume` is called. What comes next may be read into the same memory:
   * whoever keeps the chunk takes a copy (`toKeep`).
   */
  data(chunk: Buffer): boolean
  /** The answer is complete; what followed a body in chunks, names and values. */
  end(trailers: readonly string[]): void
  upgraded(headers: string[], socket: Duplex): void
  failed(failure: UpstreamFailure): void
}

export type UpstreamCall = {
  /** Goes on after `data` returned false. */
  resume(): void
  /** Closes the connection of this request; the listener hears nothing more. */
  abort(): void
  /** Closes the connection of this request, for which the listener hears that it died. */
  breakOff(why: string): void
}

/** The connections to one replica. */
export type Upstream = {
  send(request: UpstreamRequest, listener: UpstreamListener): UpstreamCall
  /** Whether somebody accepts a new connection within 2 s. */
  answers(): Promise<boolean>
  /** Resolves when every socket to the replica is closed. Requests that are under way are broken off. */
  close(): Promise<void>
}
