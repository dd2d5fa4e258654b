import { nowMs } from '../clock.ts'
import { Book } from './book.ts'
import { startEventStreams, startSlowRequests } from './long-lane.ts'
import { startShortLane } from './short-lane.ts'
import type { Tally } from './tally.ts'
import type { Target } from './target.ts'
import { startWebSocket } from './web-socket-lane.ts'

/** What the suite asks; the answer carries the same id. */
export type ProberQuestion = { id: number; ask: 'peek' | 'rest' | 'turn' }
export type ProberAnswer = { id: number; tally: Tally }

/*
 * The prober's own process: nothing that the suite does delays its schedule. It ends with whoever started it.
 */

const target = JSON.parse(process.argv[2] ?? '') as Target
const book = new Book(nowMs)
const stopShort = startShortLane(target, book)
const long = [startSlowRequests(target, book), startEventStreams(target, book), startWebSocket(target, book)]

/** Lets the long exchanges end; only short requests go on until the next `turn`. */
async function rest(): Promise<Tally> {
  for (const lane of long) lane.rest()
  await book.settle()
  return book.peek()
}

async function turn(): Promise<Tally> {
  await rest()
  const tally = book.turn()
  for (const lane of long) lane.go()
  return tally
}

const answers: Record<ProberQuestion['ask'], () => Promise<Tally> | Tally> = {
  peek: () => book.peek(),
  rest,
  turn,
}

process.on('message', (question: ProberQuestion) => {
  void Promise.resolve(answers[question.ask]()).then((tally) =>
    process.send?.({ id: question.id, tally } satisfies ProberAnswer),
  )
})
process.once('disconnect', () => {
  stopShort()
  for (const lane of long) lane.stop()
  process.exit(0)
})
// A terminal's Ctrl-C is the suite's affair: it still wants the last tally.
process.on('SIGINT', () => undefined)
