const maxShownKey = 100

/** How a problem names a field: `traffic.0.tag`; empty for the body as a whole. */
export function fieldPath(parts: readonly PropertyKey[]): string {
  return parts.map((part) => String(part).slice(0, maxShownKey)).join('.')
}
