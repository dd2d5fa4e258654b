const token = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/
const value = /^[\t\x20-\x7e\x80-\xff]*$/
const maxKnown = 1024
const maxKnownLength = 64
/** Names that were looked at before: the same few come again and again. */
const known = new Set<string>()

/** RFC 9110, 5.6.2: what the name of a field, and a method, may be made of. */
export function isToken(text: string): boolean {
  if (known.has(text)) return true
  if (!token.test(text)) return false
  if (known.size < maxKnown && text.length <= maxKnownLength) known.add(text)
  return true
}

/** RFC 9110, 5.5: visible characters, blanks, and bytes above ASCII. */
export function isFieldValue(text: string): boolean {
  return value.test(text)
}
