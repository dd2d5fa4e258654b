import type { TestProject } from 'vitest/node'
import { startEngines } from './engines.ts'
import { type PlatformConnection, startPlatform } from './platform.ts'
import { claimSlot } from './slot.ts'

declare module 'vitest' {
  interface ProvidedContext {
    /** A running platform with nodes a, b and c; c cannot reach the registry. `connectPlatform` uses it. */
    platform: PlatformConnection
  }
}

/** Global set-up of the e2e and chaos projects: three engines and one platform for all test files. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const slot = await claimSlot()
  const stops: (() => Promise<void>)[] = [() => slot.release()]
  const stopAll = async () => {
    for (const stop of stops.toReversed()) await stop()
  }
  try {
    const engines = await startEngines(slot, 3, { isolateLast: true })
    stops.push(async () => {
      await Promise.all(engines.map((engine) => engine.stop()))
    })
    // Tests of packages/engine use an engine of the run instead of the machine's own.
    process.env['BERTH_TEST_ENGINE'] ??= engines[0]?.connection.endpoint
    const platform = await startPlatform(
      slot,
      engines.map(({ connection }) => connection),
    )
    stops.push(platform.stop)
    project.provide('platform', platform.connection)
    return stopAll
  } catch (error) {
    await stopAll()
    throw error
  }
}
