import { ApiError, fieldSentence } from '../api-error.ts'
import { fieldPath } from './field-path.ts'

/*
 * JSON.parse lets pass what must not: of duplicate keys the last one wins, `__proto__` gets special treatment
 * later, U+0000 and lone surrogates are refused by Postgres, and deep nesting costs the stack of whoever walks it.
 * One iterative look over the text finds all of that and where; whether it is JSON at all JSON.parse decides.
 */

const maxDepth = 64

/** An object or array that is open at this point of the text. `at` is the key or index of what stands here. */
type Frame =
  | { kind: 'object'; keys: Set<string>; expectsKey: boolean; at: string }
  | { kind: 'array'; at: number }

/** The value of a JSON text. Throws `ApiError` malformed-json that says what is wrong and in which field. */
export function parseStrictJson(text: string): unknown {
  scan(text)
  try {
    return JSON.parse(text) as unknown
  } catch {
    throw malformed([], 'is not JSON')
  }
}

function scan(text: string): void {
  const frames: Frame[] = []
  let at = 0
  while (at < text.length) {
    const character = text[at]
    if (character === '"') {
      const end = endOfString(text, at, frames)
      takeString(frames, decode(text.slice(at, end), frames))
      at = end
      continue
    }
    if (character === '{') frames.push({ kind: 'object', keys: new Set(), expectsKey: true, at: '' })
    else if (character === '[') frames.push({ kind: 'array', at: 0 })
    else if (character === '}' || character === ']') frames.pop()
    else if (character === ',') moveOn(frames.at(-1))
    if (frames.length > maxDepth)
      throw malformed(frames.slice(0, 1), `is nested more than ${maxDepth} levels deep`)
    at += 1
  }
}

function moveOn(frame: Frame | undefined): void {
  if (frame?.kind === 'array') frame.at += 1
  else if (frame !== undefined) frame.expectsKey = true
}

/** A key of the object that is open here, or else a value, which needs no look. */
function takeString(frames: readonly Frame[], text: string): void {
  const frame = frames.at(-1)
  if (frame?.kind !== 'object' || !frame.expectsKey) return
  frame.at = text
  frame.expectsKey = false
  if (text === '__proto__') throw malformed(frames, 'is a name that no field may have')
  if (frame.keys.has(text)) throw malformed(frames, 'is there twice')
  frame.keys.add(text)
}

/** The place behind the closing quote of the string that opens at `start`. */
function endOfString(text: string, start: number, frames: readonly Frame[]): number {
  for (let at = start + 1; at < text.length; at += 1) {
    if (text[at] === '\\') at += 1
    else if (text[at] === '"') return at + 1
  }
  throw malformed(frames, 'has a string without an end')
}

function decode(literal: string, frames: readonly Frame[]): string {
  let value: string
  try {
    value = JSON.parse(literal) as string
  } catch {
    throw malformed(frames, 'has a malformed string')
  }
  if (value.includes('\0')) throw malformed(frames, 'has U+0000 in a string')
  if (!value.isWellFormed()) throw malformed(frames, 'has half a surrogate pair in a string')
  return value
}

function malformed(frames: readonly Frame[], message: string): ApiError {
  // Where a key is still to come, the fault is the object's.
  const inside = frames.filter((frame) => frame.kind === 'array' || !frame.expectsKey)
  const error = { path: fieldPath(inside.map(({ at }) => at)), message }
  return new ApiError('malformed-json', fieldSentence(error), { errors: [error] })
}
