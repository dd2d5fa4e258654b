import { StoreUnavailableError } from '@berth/db'

const patienceMs = 1_000
const probeDeadlineMs = 700
const probeAgainMs = 500

/**
 * Bounds how long a request hangs on a database that says nothing: after 1 s the database is asked a trivial
 * question over a connection of its own, and only when that stays without an answer too the request is given up
 * (`StoreUnavailableError`, within 2 s in all). A slow statement on a living database goes on.
 */
export function storeGuard(databaseAnswers: () => Promise<boolean>) {
  let probe: Promise<boolean> | undefined
  const answers = () => {
    probe ??= withDeadline(databaseAnswers()).finally(() => {
      probe = undefined
    })
    return probe
  }
  return async function guarded<T>(work: Promise<T>): Promise<T> {
    const over = new AbortController()
    // Whoever loses the race may still fail: nobody is left to hear of it.
    work.catch(() => {})
    try {
      return await Promise.race([work, whenSilent(answers, over.signal)])
    } finally {
      over.abort()
    }
  }
}

function whenSilent(answers: () => Promise<boolean>, over: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    let timer = setTimeout(check, patienceMs)
    function check() {
      void answers().then((alive) => {
        if (over.aborted) return
        if (!alive) reject(new StoreUnavailableError('silent'))
        else timer = setTimeout(check, probeAgainMs)
      })
    }
    over.addEventListener('abort', () => clearTimeout(timer), { once: true })
  })
}

function withDeadline(answer: Promise<boolean>): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(false), probeDeadlineMs)
    void answer.then((value) => {
      clearTimeout(timer)
      resolve(value)
    })
  })
}
