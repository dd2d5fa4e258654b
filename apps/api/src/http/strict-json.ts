import { ApiError } from '../api-error.ts'

/*
 * JSON.parse lets pass what must not: of duplicate keys the last one wins, `__proto__` gets special treatment
 * later, U+0000 and lone surrogates are refused by Postgres, and deep nesting costs the stack of whoever walks it.
 * One iterative look over the text finds all of that; whether it is JSON at all JSON.parse decides.
 */

const maxDepth = 64

type Frame = { keys: Set<string>; expectsKey: boolean } | 'array'

/** The value of a JSON text. Throws `ApiError` malformed-json that says what is wrong and where. */
export function parseStrictJson(text: string): unknown {
  scan(text)
  try {
    return JSON.parse(text) as unknown
  } catch {
    throw malformed('is not JSON')
  }
}

function scan(text: string): void {
  const frames: Frame[] = []
  let at = 0
  while (at < text.length) {
    const character = text[at]
    if (character === '"') {
      const end = endOfString(text, at)
      const frame = frames.at(-1)
      const value = decode(text.slice(at, end))
      if (frame !== undefined && frame !== 'array' && frame.expectsKey) takeKey(frame, value)
      at = end
      continue
    }
    if (character === '{') frames.push({ keys: new Set(), expectsKey: true })
    else if (character === '[') frames.push('array')
    else if (character === '}' || character === ']') frames.pop()
    else if (character === ',') expectKey(frames.at(-1))
    if (frames.length > maxDepth) throw malformed(`is nested more than ${maxDepth} levels deep`)
    at += 1
  }
}

function expectKey(frame: Frame | undefined): void {
  if (frame !== undefined && frame !== 'array') frame.expectsKey = true
}

function takeKey(frame: Exclude<Frame, 'array'>, key: string): void {
  const shown = JSON.stringify(key.slice(0, 64))
  if (key === '__proto__') throw malformed('has a key "__proto__"')
  if (frame.keys.has(key)) throw malformed(`has the key ${shown} twice`)
  frame.keys.add(key)
  frame.expectsKey = false
}

/** The place behind the closing quote of the string that opens at `start`. */
function endOfString(text: string, start: number): number {
  for (let at = start + 1; at < text.length; at += 1) {
    if (text[at] === '\\') at += 1
    else if (text[at] === '"') return at + 1
  }
  throw malformed('has a string without an end')
}

function decode(literal: string): string {
  let value: string
  try {
    value = JSON.parse(literal) as string
  } catch {
    throw malformed('has a malformed string')
  }
  if (value.includes('\0')) throw malformed('has U+0000 in a string')
  if (!value.isWellFormed()) throw malformed('has half a surrogate pair in a string')
  return value
}

function malformed(what: string): ApiError {
  return new ApiError('malformed-json', `The body ${what}.`)
}
