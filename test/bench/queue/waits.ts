import type { Random } from '../../support/random.ts'
import { bootstrapInterval, mean, percentile } from '../statistics.ts'
import { tableLines } from '../table.ts'

/** Waits of the same requests in milliseconds, in the order in which these were sent. */
export type Waits = Float64Array

export function joined(rounds: readonly Waits[]): Waits {
  return Float64Array.from(rounds.flatMap((round) => [...round]))
}

export function waitsTable(measured: readonly { name: string; waits: Waits }[]): string[] {
  const ms = (value: number) => `${value.toFixed(2)} ms`
  return tableLines(
    ['wait', 'p50', 'p99', 'mean'],
    measured.map(({ name, waits }) => [
      name,
      ms(percentile(waits, 50)),
      ms(percentile(waits, 99)),
      ms(mean(waits)),
    ]),
  )
}

/** How `mine` compare to `theirs`, request by request, with 95 % intervals from blocks of `blockLength` requests. */
export function pairedTable(mine: Waits, theirs: Waits, blockLength: number, random: Random): string[] {
  const figures: [string, (mine: Waits, theirs: Waits) => number][] = [
    ['mean difference in ms', (a, b) => mean(a) - mean(b)],
    ['ratio of p50', (a, b) => percentile(a, 50) / percentile(b, 50)],
    ['ratio of p99', (a, b) => percentile(a, 99) / percentile(b, 99)],
  ]
  return tableLines(
    ['paired', 'figure', '95 % from', 'to'],
    figures.map(([name, figure]) => {
      const { low, high } = bootstrapInterval({ length: mine.length, blockLength, random }, (places) =>
        figure(drawn(mine, places), drawn(theirs, places)),
      )
      return [name, ...[figure(mine, theirs), low, high].map((each) => each.toFixed(3))]
    }),
  )
}

function drawn(waits: Waits, places: Uint32Array): Waits {
  return Float64Array.from(places, (place) => waits[place] ?? Number.NaN)
}
