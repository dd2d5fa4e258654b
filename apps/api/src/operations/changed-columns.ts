import { isDeepStrictEqual } from 'node:util'

/** Those of `wanted` that differ from the row; undefined when none does, so that nothing is written. */
export function changedColumns<Row extends object, Wanted extends Partial<Row>>(
  row: Row,
  wanted: Wanted,
): Partial<Wanted> | undefined {
  const stored = new Map<string, unknown>(Object.entries(row))
  const changed = Object.entries(wanted).filter(
    ([name, value]) => !isDeepStrictEqual(stored.get(name), value),
  )
  return changed.length === 0 ? undefined : (Object.fromEntries(changed) as Partial<Wanted>)
}
