import { write } from 'node:fs'

/** As much is written at once, some 130 access lines. */
const pieceBytes = 64 * 1024
/** So much may wait while whoever reads the log stands still, 4 MiB; more is dropped. */
const maxWaitingPieces = 64
/** A pipe that takes nothing at the moment is tried again after this. */
const tryAgainMs = 10

type Piece = { buffer: Buffer; from: number; used: number; lines: number }

/**
 * The way of the log to its descriptor. Nobody waits for it: lines gather in pieces, and a thread of the process writes
 * one piece after the other. When the reader stands still, 4 MiB wait at most, and the newest lines are dropped.
 */
export class LogWriter {
  readonly #fd: number
  #gathered = newPiece()
  readonly #waiting: Piece[] = []
  #isWriting = false
  /** There was no room for what had gathered when it was to go. */
  #owesFlush = false
  #droppedLines = 0
  #onWritten: (() => void) | undefined

  constructor(fd: number) {
    this.#fd = fd
  }

  /** How many lines nobody will ever read. */
  get droppedLines(): number {
    return this.#droppedLines
  }

  /** Takes one line that ends in a line feed. */
  write(line: string): void {
    // No character takes more than three bytes per unit of a string.
    const most = line.length * 3
    if (this.#gathered.used + most > pieceBytes) {
      if (this.#waiting.length >= maxWaitingPieces) {
        this.#droppedLines += 1
        return
      }
      this.#cut(most)
    }
    const piece = this.#gathered
    piece.used += piece.buffer.write(line, piece.used)
    piece.lines += 1
  }

  /** Sends what has gathered on its way; without that, a piece goes when it is full. */
  flush(): void {
    if (this.#gathered.used === 0) return
    this.#owesFlush = this.#waiting.length >= maxWaitingPieces
    if (!this.#owesFlush) this.#cut()
  }

  /** Resolves with whether everything was written within `ms`. */
  async flushed(ms: number): Promise<boolean> {
    this.flush()
    if (!this.#isWriting) return true
    return await new Promise((resolve) => {
      const timer = setTimeout(() => resolve(false), ms)
      this.#onWritten = () => {
        clearTimeout(timer)
        resolve(true)
      }
    })
  }

  /** The next piece has room for a line of `bytes`. */
  #cut(bytes = 0): void {
    if (this.#gathered.used > 0) this.#waiting.push(this.#gathered)
    this.#gathered = newPiece(bytes)
    if (!this.#isWriting) this.#writeNext()
  }

  #writeNext(): void {
    const piece = this.#waiting[0]
    this.#isWriting = piece !== undefined
    if (piece) this.#write(piece)
    else this.#onWritten?.()
  }

  #write(piece: Piece): void {
    write(this.#fd, piece.buffer, piece.from, piece.used - piece.from, null, (error, written) => {
      if (error?.code === 'EAGAIN') return void setTimeout(() => this.#write(piece), tryAgainMs)
      if (error) this.#droppedLines += piece.lines
      piece.from += written
      if (!error && piece.from < piece.used) return this.#write(piece)
      this.#waiting.shift()
      if (this.#owesFlush) this.flush()
      this.#writeNext()
    })
  }
}

function newPiece(leastBytes = 0): Piece {
  return { buffer: Buffer.allocUnsafe(Math.max(pieceBytes, leastBytes)), from: 0, used: 0, lines: 0 }
}
