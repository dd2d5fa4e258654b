import { once } from 'node:events'
import { stat } from 'node:fs/promises'
import { createConnection, createServer, type Server } from 'node:net'
import { codeOf, Failure } from './failure.ts'

const answerMs = 1000

/**
 * Keeps two commands of one data folder apart, by whatever path they reach it. The lock is a unix socket of the
 * abstract namespace: the kernel gives it to one process, and frees it when that ends in whatever way, so there is
 * none to be found left behind. Returns the function that lets go; throws a Failure that names the holder.
 */
export async function takeUpLock(folder: string): Promise<() => Promise<void>> {
  const { dev, ino } = await stat(folder)
  const address = `\0berth-${dev}-${ino}`
  const lock = createServer((asker) => {
    asker.on('error', () => undefined)
    asker.end(String(process.pid), () => asker.destroy())
  })
  try {
    lock.listen(address)
    await once(lock, 'listening')
  } catch (error) {
    if (codeOf(error) !== 'EADDRINUSE') throw error
    const holder = await askHolder(address)
    throw new Failure(`Another ./berth command${holder} is at work here; wait for it to end.`, {
      cause: error,
    })
  }
  return () => close(lock)
}

/** " (pid 812)", or nothing when it does not say so in time. */
async function askHolder(address: string): Promise<string> {
  const asked = createConnection(address)
  try {
    const [pid] = (await once(asked, 'data', { signal: AbortSignal.timeout(answerMs) })) as [Buffer]
    return ` (pid ${pid.toString()})`
  } catch {
    return ''
  } finally {
    asked.destroy()
  }
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve())
  })
}
