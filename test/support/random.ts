import { createHash } from 'node:crypto'

/** A stream of chance that is the same for the same seed and purpose, whatever else was drawn before. */
export type Random = {
  /** At least 0 and below 1. */
  fraction(): number
  /** A whole number from `least` to `most`, both possible. */
  between(least: number, most: number): number
  pick<Item>(items: readonly Item[]): Item
  shuffle<Item>(items: readonly Item[]): Item[]
}

/** Park and Miller's generator, begun with a hash of seed and purpose. */
export function seededRandom(seed: number, purpose: string): Random {
  const modulus = 2_147_483_647
  const hash = createHash('sha256').update(`${seed}/${purpose}`).digest().readUInt32BE(0)
  let state = (hash % (modulus - 1)) + 1
  const next = () => {
    state = (state * 48_271) % modulus
    return (state - 1) / (modulus - 1)
  }
  const random: Random = {
    fraction: next,
    between: (least, most) => least + Math.floor(next() * (most - least + 1)),
    pick(items) {
      const item = items[random.between(0, items.length - 1)]
      if (item === undefined) throw new Error('there is nothing to pick from')
      return item
    },
    shuffle(items) {
      const left = [...items]
      return items.map(() => left.splice(random.between(0, left.length - 1), 1)).flat()
    },
  }
  return random
}
