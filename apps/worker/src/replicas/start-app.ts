import { awaitReady, type ReadyOutcome, type StartingApp } from './await-ready.ts'
import type { ReplicaHost } from './replica-deps.ts'

/**
 * Lets the app begin by `start` and waits until it answers. Connects are tried from the moment that `start` says the
 * call goes out (`issued`): a quick app listens before the engine has said that it started. `onIssued` is called at
 * that moment. Fails with an `EngineError` of the start.
 */
export async function startApp(
  host: ReplicaHost,
  app: StartingApp,
  start: (issued: () => void) => Promise<void>,
  options: { deadlineMs?: number; signal?: AbortSignal; onIssued?: () => void } = {},
): Promise<ReadyOutcome> {
  const issued = Promise.withResolvers<void>()
  const started = start(issued.resolve)
  await Promise.race([issued.promise, started])
  options.onIssued?.()
  return await awaitReady(host, app, { ...options, started })
}
