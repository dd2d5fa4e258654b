import type { ContainerRuntime, LogLine, LogRequest } from '@berth/engine'

/** Where a replica's app is: its container, and the name of the one whose place that took, if there is any. */
export type AppLocation = { runtime: ContainerRuntime; containerId: string; pastName: string }

/** What the app printed, in the container before this one too. */
export async function* appLog(location: AppLocation, request: LogRequest): AsyncGenerator<LogLine> {
  const { runtime, containerId } = location
  yield* await pastLines(location, request)
  yield* runtime.logs(containerId, request)
}

/** What is left of the tail for the container before: all that this one has comes after it. */
async function pastLines(location: AppLocation, { tail, ...asked }: LogRequest): Promise<LogLine[]> {
  const { runtime, containerId, pastName } = location
  const past = await runtime.inspect(pastName)
  if (past === null || past.id === containerId) return []
  const once = { ...asked, follow: false }
  if (tail === undefined) return await Array.fromAsync(runtime.logs(past.id, once))
  const own = (await Array.fromAsync(runtime.logs(containerId, { ...once, tail }))).length
  return own >= tail ? [] : await Array.fromAsync(runtime.logs(past.id, { ...once, tail: tail - own }))
}

/**
 * What the app printed before it was started the last time: a container that is started again goes on in the same log.
 * The engine would take the tail of all of it, so that is cut here; the log itself is bounded by its rotation.
 */
export async function* linesBeforeStart(
  location: AppLocation,
  { tail = Infinity, ...asked }: LogRequest,
): AsyncGenerator<LogLine> {
  const startedAt = (await location.runtime.inspect(location.containerId))?.startedAt
  if (startedAt === undefined || startedAt === null) return
  const last: LogLine[] = []
  for await (const line of appLog(location, { ...asked, follow: false, untilMs: startedAt })) {
    last.push(line)
    if (last.length > tail) last.shift()
  }
  yield* last
}
