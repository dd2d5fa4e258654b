import type { ResponseHead } from '../upstream/response-head.ts'
import { ResponseParser } from '../upstream/response-parser.ts'

/** What a parser made of an answer. `end`: how far it got; `broken` names no reason, since parsers have their own. */
export type ReadAnswer = {
  status?: number
  statusText?: string
  headers?: string[]
  body: string
  trailers?: string[]
  end: 'complete' | 'broken' | 'switched' | 'cut off'
  /** Complete, and another may follow on the connection. */
  keepsConnection?: boolean
  /** What was said behind a 101. */
  rest?: string
}

export type Asked = { toHead?: boolean; asksUpgrade?: boolean }

/** Our parser reads the pieces of one answer; after them the connection ends in order. Bytes are latin1. */
export function readAnswer(pieces: readonly string[], asked: Asked = {}): ReadAnswer {
  const read: ReadAnswer = { body: '', end: 'cut off' }
  const note = ({ status, statusText, headers }: ResponseHead) =>
    Object.assign(read, { status, statusText, headers })
  let head: ResponseHead | undefined
  const parser = new ResponseParser({
    head: (came) => {
      head = came
      note(came)
    },
    data(chunk) {
      read.body += chunk.toString('latin1')
    },
    complete(trailers, isLast) {
      read.end = 'complete'
      read.trailers = trailers
      read.keepsConnection = !isLast && head?.keepsConnection === true
    },
    switched(came, rest) {
      note(came)
      read.end = 'switched'
      read.rest = rest.toString('latin1')
    },
    broken() {
      read.end = 'broken'
    },
  })
  parser.begin({ toHead: asked.toHead === true, asksUpgrade: asked.asksUpgrade === true })
  for (const piece of pieces) {
    if (read.end === 'cut off') parser.read(Buffer.from(piece, 'latin1'))
    // What follows in a later piece comes on a connection that is idle, and ends it.
    else if (read.end === 'complete' && piece !== '') read.keepsConnection = false
    else if (read.end === 'switched') read.rest += piece
  }
  parser.ended()
  return read
}
