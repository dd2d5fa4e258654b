import type { UpgradeOffer } from '../../exchange/upgrade-offer.ts'
import type { BodySink, Downstream, DownstreamEvents, Peer, RequestHead } from '../downstream.ts'
import { AnswerWriter } from './answer-writer.ts'
import { expectsContinue } from './head-fields.ts'
import type { Http1Connection } from './connection.ts'

/** So much of a body is kept while nobody reads it, and no more is taken from the client. */
const maxHeldBytes = 64 * 1024
/** Most requests have no body. */
const none: Buffer[] = []

/**
 * One request on a connection, behind those before it: its body as it comes, and its answer. It stands for the
 * client towards whoever answers; the connection tells it what the client does.
 */
export class Http1Request implements Downstream {
  readonly head: RequestHead
  readonly maxHeldBytes = maxHeldBytes
  upgrade: UpgradeOffer | undefined
  readonly #connection: Http1Connection
  readonly #answer: AnswerWriter
  #events: DownstreamEvents | undefined
  #sink: BodySink | undefined
  /** What came while nobody read. */
  #held: Buffer[] = none
  #heldBytes = 0
  #isWhole = false
  #isBroken = false
  /** Whoever reads has enough for now. */
  #isFull = false
  /** Nobody will read the rest. */
  #isUnwanted = false

  constructor(connection: Http1Connection, head: RequestHead, keepsConnection: boolean) {
    this.head = head
    this.#connection = connection
    this.#answer = new AnswerWriter(connection.socket, head, {
      closes: !keepsConnection,
      idleSeconds: connection.idleSeconds,
    })
  }

  get peer(): Peer {
    return this.#connection.peer
  }

  get isWhole(): boolean {
    return this.#isWhole
  }

  get isGone(): boolean {
    return this.#connection.socket.destroyed
  }

  get closes(): boolean {
    return this.#answer.closes
  }

  /** Whoever reads the body waits for more of it, and has not begun to answer. */
  get isAwaited(): boolean {
    return this.#sink !== undefined && !this.#answer.begun
  }

  /** No more may be read from the client for now. */
  get isFull(): boolean {
    return this.#isFull || (this.#sink === undefined && this.#heldBytes >= maxHeldBytes)
  }

  listen(events: DownstreamEvents): void {
    this.#events = events
  }

  readBody(sink: BodySink): void {
    this.#sink = sink
    const waits = this.#heldBytes === 0 && !this.#isWhole && expectsContinue(this.head)
    if (waits) this.#answer.writeContinue()
    const held = this.#held
    this.#held = none
    this.#heldBytes = 0
    for (const chunk of held) if (!sink.data(chunk)) this.#isFull = true
    if (this.#isWhole) sink.end()
    else if (this.isGone || this.#isBroken) sink.broke(clientLeft())
    this.#connection.readOrPause()
  }

  resumeBody(): void {
    if (!this.#isFull) return
    this.#isFull = false
    this.#connection.readOrPause()
  }

  closeAfterwards(): void {
    this.#answer.closes = true
  }

  writeHead(status: number, statusText: string, headers: readonly string[]): boolean {
    if (this.#connection.mustClose) this.#answer.closes = true
    return this.#answer.writeHead(status, statusText, headers)
  }

  write(chunk: Buffer): boolean {
    return this.#answer.write(chunk)
  }

  end(trailers: readonly [string, string][]): void {
    if (this.#answer.end(trailers)) this.#connection.whenTaken(this)
    else this.reset()
  }

  reset(): void {
    this.#connection.reset()
  }

  /** What follows is called by the connection alone. */
  bodyCame(chunk: Buffer): void {
    if (this.#isUnwanted) return
    if (this.#sink) {
      if (!this.#sink.data(chunk)) this.#isFull = true
      return
    }
    if (this.#held === none) this.#held = []
    this.#held.push(chunk)
    this.#heldBytes += chunk.length
  }

  bodyEnded(): void {
    this.#isWhole = true
    if (!this.#isUnwanted) this.#sink?.end()
  }

  /** The rest of its body cannot be understood. */
  bodyBroke(): void {
    this.#isBroken = true
    this.#sink?.broke(new Error('the body cannot be understood'))
  }

  /** Its answer was given without all of the body: the rest is read and forgotten. */
  dropBody(): void {
    this.#isUnwanted = true
    this.#isFull = false
    this.#held = none
    this.#heldBytes = 0
  }

  taken(): void {
    this.#events?.taken()
  }

  drained(): void {
    this.#events?.drained()
  }

  gone(): void {
    // First, so that nobody takes what follows for the replica's fault.
    this.#events?.gone()
    if (!this.#isWhole) this.#sink?.broke(clientLeft())
  }
}

function clientLeft(): Error {
  return new Error('the client closed the connection')
}
