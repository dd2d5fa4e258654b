import type { Random } from '../../support/random.ts'

/** When requests are sent, in milliseconds from the start, ascending. */
export type Schedule = Float64Array

/** `perSecond` for `seconds`, at equal distances. */
export function steady(perSecond: number, seconds: number): Schedule {
  return Float64Array.from(
    { length: Math.round(perSecond * seconds) },
    (_, index) => (index * 1000) / perSecond,
  )
}

/** `count` arrivals that know nothing of each other, `perSecond` in the mean. */
export function poisson(perSecond: number, count: number, random: Random): Schedule {
  let at = 0
  return Float64Array.from({ length: count }, () => {
    at += (-Math.log(1 - random.fraction()) * 1000) / perSecond
    return at
  })
}
