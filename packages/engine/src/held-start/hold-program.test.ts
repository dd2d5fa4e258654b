import { expect, test } from 'vitest'
import { holdListings, passingProgram, waitingProgram } from './hold-program.ts'

/** Where each instruction begins, by its label, and where each short jump leads. */
function jumpsOf(listing: (typeof holdListings)[number]) {
  const labels = new Map<string, number>()
  const jumps: { to: string; lands: number }[] = []
  let at = 0
  for (const [hex, assembly] of listing) {
    const [, label] = /^(\w+):/.exec(assembly) ?? []
    if (label !== undefined) labels.set(label, at)
    const bytes = Buffer.from(hex, 'hex')
    at += bytes.length
    const [, to] = /^(?:\w+: )?j\w+ (\w+)$/.exec(assembly) ?? []
    if (to !== undefined) jumps.push({ to, lands: at + bytes.readInt8(1) })
  }
  return jumps.map(({ to, lands }) => ({ to, off: lands - (labels.get(to) ?? Number.NaN) }))
}

test('every jump lands where its listing says', () => {
  const jumps = holdListings.flatMap(jumpsOf)
  expect(jumps).toHaveLength(7)
  expect(jumps.filter(({ off }) => off !== 0)).toEqual([])
})

test('both programs are small and differ only in the wait', () => {
  const wait = holdListings[1].map(([hex]) => hex).join('')
  expect(waitingProgram.length).toBeLessThan(512)
  expect(waitingProgram.toString('hex')).toContain(wait)
  expect(waitingProgram.length - passingProgram.length).toBe(wait.length / 2)
})
