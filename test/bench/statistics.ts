/** The middle of `values`, between the two middle ones of an even number; NaN of none. */
export function median(values: readonly number[]): number {
  return percentile(values, 50)
}

/** The value that `percent` of `values` are at or below, between neighbours where it falls there; NaN of none. */
export function percentile(values: readonly number[] | Float64Array, percent: number): number {
  return percentileOfSorted(Float64Array.from(values).sort(), percent)
}

function percentileOfSorted(sorted: Float64Array, percent: number): number {
  const place = ((sorted.length - 1) * percent) / 100
  const below = sorted[Math.floor(place)] ?? Number.NaN
  const above = sorted[Math.ceil(place)] ?? Number.NaN
  return below + (above - below) * (place - Math.floor(place))
}
