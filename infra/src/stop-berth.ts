import { setTimeout as delay } from 'node:timers/promises'
import type { ProcessIdentity } from './machine/process-identity.ts'
import { stopProcess } from './machine/stop-process.ts'
import type { RunFolder } from './run-folder.ts'
import { askDown, readStatus } from './supervisor/control-client.ts'
import { readRecord, stopLeftovers } from './supervisor/process-record.ts'

/** The longest way down: one deadline after the other, with something to spare. */
const stopTimeoutMs = 60_000

/**
 * Ends the supervisor, which takes the others with it, then whatever is left. Fine when nothing runs. `supervisor`
 * is one that was started a moment ago and may not answer yet.
 */
export async function stopBerth(run: RunFolder, supervisor?: ProcessIdentity): Promise<void> {
  const status = await readStatus(run.supervisorSocket).catch(() => undefined)
  if (status !== undefined) {
    await askDown(run.supervisorSocket).catch(() => undefined)
    const deadline = performance.now() + stopTimeoutMs
    while (readRecord(run.processFile).length > 0 && performance.now() < deadline) await delay(50)
  } else if (supervisor !== undefined) {
    await stopProcess(supervisor, 'SIGTERM', stopTimeoutMs)
  }
  await stopLeftovers(run.processFile)
}
