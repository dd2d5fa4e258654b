import { splitQuotedLines } from '@berth/contracts'

/** Without the lines that a message quotes: they stand apart. */
export function plain(message: string): string {
  return splitQuotedLines(message).message
}

export function sentence(text: string): string {
  return /[.!?]$/.test(text) ? text : `${text}.`
}

export function seconds(ms: number): string {
  return `${Math.max(1, Math.ceil(ms / 1000))} s`
}
