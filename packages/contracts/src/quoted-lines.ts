import type { Environment } from './template.ts'

/*
 * The last lines of an app as they stand in messages of replicas, deployments and conditions. They are put in with
 * the values of its variables replaced.
 */

/** Shorter values occur in ordinary text by chance, and give little away. */
const minSecretChars = 4
/** From here on a value is replaced also within a longer word. */
const minLongSecretChars = 8

const marker = /; (?:its|the app's) last lines were:\n/

/** The message with the lines behind it; `whose` they are is "its" where the message speaks of the app. */
export function quoteLines(
  message: string,
  lines: readonly string[],
  whose: 'its' | "the app's" = 'its',
): string {
  return lines.length === 0 ? message : `${message}; ${whose} last lines were:\n${lines.join('\n')}`
}

/** What `quoteLines` has put together. */
export function splitQuotedLines(text: string): { message: string; lines: string[] } {
  const at = marker.exec(text)
  if (at === null) return { message: text, lines: [] }
  return { message: text.slice(0, at.index), lines: text.slice(at.index + at[0].length).split('\n') }
}

/**
 * An app may print its environment; what is shown of it must not. A value of several lines is looked for line by line,
 * since lines are what is shown. One of 4 to 7 characters is replaced where it stands as a word: the price is that a
 * harmless `true` or `info` reads `***` too. What the app prints in another form (encoded, cut) is not found.
 */
export function redact(line: string, env: Environment): string {
  return Object.values(env)
    .flatMap((value) => value.split(/\r?\n/))
    .map((value) => value.trim())
    .filter((value) => value.length >= minSecretChars)
    .toSorted((one, other) => other.length - one.length)
    .reduce((text, value) => hide(text, value), line)
}

function hide(text: string, value: string): string {
  if (value.length >= minLongSecretChars) return text.replaceAll(value, '***')
  const word = new RegExp(`(?<![\\p{L}\\p{N}_])${RegExp.escape(value)}(?![\\p{L}\\p{N}_])`, 'gu')
  return text.replace(word, '***')
}
