import type { AccessLine } from '../exchange/access-line.ts'

/*
 * An access line as it is written, in the form that pino gives to all others. It is made by hand because it is made
 * for every request: fields of a fixed order, and only what comes from clients is looked at for what JSON escapes.
 */

const thousandths = Array.from({ length: 1000 }, (_, index) => `.${String(index).padStart(3, '0')}`)
const plain = /^[\x20\x21\x23-\x5b\x5d-\x7e]*$/
/** What JSON lets pass as it is, and a terminal or another reader of lines may take for a command. */
const unprintable = /[\x7f-\x9f\u2028\u2029]/g

/** One line of JSON with its line feed; `at` is the time in ms since 1970. What is undefined is left out. */
export function accessLineText(line: AccessLine, at: number): string {
  let text = `{"level":30,"time":${at},"process":"router","outcome":"${line.outcome}","requestId":${quoted(line.requestId)}`
  if (line.traceparent !== undefined) text += `,"traceparent":${quoted(line.traceparent)}`
  if (line.protocol !== undefined) text += `,"protocol":${quoted(line.protocol)}`
  text += `,"method":${quoted(line.method)},"host":${quoted(line.host)},"path":${quoted(line.path)}`
  text += `,"status":${line.status},"ms":${milliseconds(line.ms)},"queuedMs":${milliseconds(line.queuedMs)}`
  if (line.upstreamHeadMs !== undefined) text += `,"upstreamHeadMs":${milliseconds(line.upstreamHeadMs)}`
  if (line.upstreamMs !== undefined) text += `,"upstreamMs":${milliseconds(line.upstreamMs)}`
  text += `,"bytes":${line.bytes}`
  if (line.receivedBytes !== undefined) text += `,"receivedBytes":${line.receivedBytes}`
  text += `,"retries":${line.retries}`
  // Names of ours, which the contracts keep to letters, digits and hyphens.
  if (line.project !== undefined) text += `,"project":"${line.project}"`
  if (line.service !== undefined) text += `,"service":"${line.service}"`
  if (line.revision !== undefined) text += `,"revision":"${line.revision}"`
  if (line.replica !== undefined) text += `,"replica":"${line.replica}"`
  if (line.code !== undefined) text += `,"code":"${line.code}"`
  return `${text},"msg":"request ended"}\n`
}

function quoted(text: string): string {
  return plain.test(text) ? `"${text}"` : JSON.stringify(text).replace(unprintable, escaped)
}

function escaped(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
}

/** To the microsecond, in a third of the time that a fraction takes to be written. */
function milliseconds(ms: number): string {
  const microseconds = Math.round(ms * 1000)
  const whole = Math.floor(microseconds / 1000)
  const rest = microseconds - whole * 1000
  return rest === 0 ? String(whole) : `${whole}${thousandths[rest] ?? ''}`
}
