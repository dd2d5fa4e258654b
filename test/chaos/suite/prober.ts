import { fork } from 'node:child_process'
import { once } from 'node:events'
import { resolve } from 'node:path'
import type { ProberAnswer, ProberQuestion } from './prober/main.ts'
import type { Tally } from './prober/tally.ts'
import type { Target } from './prober/target.ts'

export type Prober = {
  /** What ended since the last `turn`; it goes on. */
  peek(): Promise<Tally>
  /**
   * Lets the long exchanges end and begins no others until the next `turn`, so that no old replica is held up by them.
   * Takes as long as the slowest request and its slack at most. Short requests go on all the time.
   */
  rest(): Promise<Tally>
  /** Does the same, begins a new tally and returns the old one. */
  turn(): Promise<Tally>
  stop(): Promise<void>
}

/** Starts to send traffic at once, in a process of its own. */
export function startProber(target: Target): Prober {
  const child = fork(resolve(import.meta.dirname, 'prober/main.ts'), [JSON.stringify(target)], {
    execArgv: [],
  })
  const exited = once(child, 'exit')
  const waiting = new Map<number, PromiseWithResolvers<Tally>>()
  let questions = 0

  child.on('message', (message) => {
    const { id, tally } = message as ProberAnswer
    waiting.get(id)?.resolve(tally)
    waiting.delete(id)
  })
  child.once('exit', (code, signal) => {
    const gone = new Error(`the prober has ended with ${signal ?? code}`)
    for (const { reject } of waiting.values()) reject(gone)
  })

  const ask = (what: ProberQuestion['ask']): Promise<Tally> => {
    const answer = Promise.withResolvers<Tally>()
    questions += 1
    waiting.set(questions, answer)
    const question: ProberQuestion = { id: questions, ask: what }
    child.send(question, (error) => error && answer.reject(error))
    return answer.promise
  }

  return {
    peek: () => ask('peek'),
    rest: () => ask('rest'),
    turn: () => ask('turn'),
    async stop() {
      if (child.connected) child.disconnect()
      await exited
    },
  }
}
