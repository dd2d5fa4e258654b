import type { UpgradeOffer } from '../exchange/upgrade-offer.ts'

/** The head of a request as it came, checked by nobody but a parser. `rawHeaders` is flat, names as they came. */
export type RequestHead = {
  method: string
  url: string
  httpVersion: string
  rawHeaders: readonly string[]
}

/** Who is at the other end of a connection. */
export type Peer = {
  /** Without `::ffff:`. */
  address: string
  /** It is one of `BERTH_TRUSTED_PROXIES`. */
  trusted: boolean
  scheme: 'http' | 'https'
  /** The host that it meant when it asked for a certificate. */
  serverName?: string | undefined
}

/** Whoever answers a request hears of its client. Nothing is called after `taken` and `gone`. */
export type DownstreamEvents = {
  /** The last of the answer has left for the client. */
  taken(): void
  /** The client takes more. */
  drained(): void
  /** The client is gone, or its connection is. */
  gone(): void
}

/** Whoever reads a body. */
export type BodySink = {
  /** Returns false to be given no more until `resumeBody`. */
  data(chunk: Buffer): boolean
  end(): void
  broke(error: Error): void
}

/** One request of a client with the way for its answer, whichever protocol carries both. */
export type Downstream = {
  readonly head: RequestHead
  readonly peer: Peer
  /** Its client would go on with a WebSocket. */
  readonly upgrade: UpgradeOffer | undefined
  /** All of the request has come. */
  readonly isWhole: boolean
  /** Nobody is left to answer. */
  readonly isGone: boolean
  /** What of the body is kept in memory while nobody reads it, at most. */
  readonly maxHeldBytes: number
  listen(events: DownstreamEvents): void
  /** Hands the body over, from what has come so far on. The client is told to go on, if it waits for that. */
  readBody(sink: BodySink): void
  resumeBody(): void
  /** This answer is the last one on its connection, if the protocol has such a thing. */
  closeAfterwards(): void
  /** Begins the answer, headers flat. Returns false when one of them cannot be written: nothing has been sent then. */
  writeHead(status: number, statusText: string, headers: readonly string[]): boolean
  /** Returns false to be given no more until `drained`. The chunk may be overwritten as soon as this returns. */
  write(chunk: Buffer): boolean
  /** The answer is complete but for its trailers. */
  end(trailers: readonly [string, string][]): void
  /** Never a clean end: no client shall take a part for the whole. */
  reset(): void
}
