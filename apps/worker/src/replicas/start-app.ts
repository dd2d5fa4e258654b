import { awaitReady, type ReadyOutcome, type StartingApp } from './await-ready.ts'
import type { ReplicaDeps, ReplicaHost } from './replica-deps.ts'
import type { StartPriority } from './start-gate.ts'

/**
 * Starts the app's container when the node has a turn for it, and waits until it answers. Connects are tried from
 * the moment the call goes out: a quick app listens before the engine has said that it started. `onIssued` is
 * called at that moment. Fails with an `EngineError` of the start.
 */
export async function startApp(
  deps: Pick<ReplicaDeps, 'fence' | 'gate'>,
  host: ReplicaHost,
  priority: StartPriority,
  app: StartingApp,
  options: { deadlineMs?: number; signal?: AbortSignal; onIssued?: () => void } = {},
): Promise<ReadyOutcome> {
  const issued = Promise.withResolvers<void>()
  const started = deps.gate.run(host, priority, () => {
    issued.resolve()
    return host.runtime.startContainer(app.appId, deps.fence)
  })
  await Promise.race([issued.promise, started])
  options.onIssued?.()
  return await awaitReady(host, app, { ...options, started })
}
