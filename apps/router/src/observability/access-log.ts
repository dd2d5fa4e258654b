import type { AccessLine } from '../exchange/access-line.ts'
import { accessLineText } from './access-line-text.ts'

export type AccessLogOptions = {
  /** Which part of the requests is written, 0 to 1. */
  sample: number
  /** Undefined where nobody wants access lines. */
  write: ((line: string) => void) | undefined
  random?: () => number
}

/** Writes access lines: of each request, or of a sample and of everything that went wrong. */
export function createAccessLog({ sample, write, random = Math.random }: AccessLogOptions) {
  return function note(line: AccessLine): void {
    if (!write || (sample < 1 && !wentWrong(line) && random() >= sample)) return
    write(accessLineText(line, Date.now()))
  }
}

function wentWrong({ status, code, outcome }: AccessLine): boolean {
  return status >= 500 || code !== undefined || outcome === 'broken-off' || outcome === 'timed-out'
}
