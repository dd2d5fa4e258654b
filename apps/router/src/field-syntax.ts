const token = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/
const value = /^[\t\x20-\x7e\x80-\xff]*$/
const maxKnown = 1024
const maxKnownLength = 64
/** The begin of a line for each name that was looked at before: the same few come again and again. */
const known = new Map<string, string>()

/** The line of a header up to its value; undefined when the name is no token (RFC 9110, 5.6.2). */
export function lineBegin(name: string): string | undefined {
  const before = known.get(name)
  if (before !== undefined) return before
  if (!token.test(name)) return undefined
  const begin = `${name}: `
  if (known.size < maxKnown && name.length <= maxKnownLength) known.set(name, begin)
  return begin
}

/** RFC 9110, 5.6.2: what the name of a field, and a method, may be made of. */
export function isToken(text: string): boolean {
  return lineBegin(text) !== undefined
}

/** RFC 9110, 5.5: visible characters, blanks, and bytes above ASCII. */
export function isFieldValue(text: string): boolean {
  return value.test(text)
}
