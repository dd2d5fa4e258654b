/** Park and Miller's generator, in (0, 1): the same numbers in every run. */
export function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (state * 48_271) % 2_147_483_647
    return state / 2_147_483_647
  }
}

/** How far a count of `draws` with the chance `share` strays from its mean, but for one run in 1,700,000: 5 sigma. */
export function statisticalError(draws: number, share: number): number {
  return 5 * Math.sqrt(draws * share * (1 - share))
}
