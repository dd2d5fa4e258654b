/** The one row that a statement must have touched. */
export function rowOf<Row>(rows: readonly Row[]): Row {
  const row = rows[0]
  if (row === undefined) throw new Error('the statement answered no row')
  return row
}
