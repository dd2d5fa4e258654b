import type { Random } from '../support/random.ts'

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

export function mean(values: readonly number[] | Float64Array): number {
  return Float64Array.from(values).reduce((sum, value) => sum + value, 0) / values.length
}

/** Where a figure lies with 95 % confidence. */
export type Interval = { low: number; high: number }

/**
 * The interval of a `statistic` of `length` values in a row, by a bootstrap of blocks: it is taken of many rows drawn
 * from the measured one in whole blocks, since neighbours depend on each other (who waits behind a long queue waits
 * long) and draws of single values would make the interval far too narrow. `statistic` gets the places of a row, so
 * that it may compare two measurements pair by pair.
 */
export function bootstrapInterval(
  { length, blockLength, random, draws = 500 }: BootstrapOptions,
  statistic: (places: Uint32Array) => number,
): Interval {
  const blocks = Math.floor(length / blockLength)
  const places = new Uint32Array(blocks * blockLength)
  const drawn = Float64Array.from({ length: draws }, () => {
    for (let block = 0; block < blocks; block += 1) {
      const start = random.between(0, blocks - 1) * blockLength
      for (let offset = 0; offset < blockLength; offset += 1)
        places[block * blockLength + offset] = start + offset
    }
    return statistic(places)
  }).sort()
  return { low: percentileOfSorted(drawn, 2.5), high: percentileOfSorted(drawn, 97.5) }
}

type BootstrapOptions = { length: number; blockLength: number; random: Random; draws?: number }
