import { once } from 'node:events'
import { cp } from 'node:fs/promises'
import { join } from 'node:path'
import { Failure, messageOf } from '../../../infra/src/failure.ts'
import { type EngineConnection, startEngines } from '../../support/engines.ts'
import { connectPlatform, startPlatform } from '../../support/platform.ts'
import { claimSlot } from '../../support/slot.ts'
import { mixedFault, singleFaults } from './faults/index.ts'
import { type Options, readOptions } from './options.ts'
import { headLine, reportFault, summarise } from './report.ts'
import { type FaultResult, openSuite } from './suite.ts'

/*
 * The chaos suite: `npm run chaos -- [--seed N] [--only NAME]... [--short] [--logs FOLDER]`. Three Docker Engines and a platform of
 * their own, steady checked traffic, and one fault after the other; docs/chaos.md says what each line means.
 */

const nodes = 3

/** Registered by its address instead of its socket, so that a node that is cut off is cut off from the leader too. */
function byAddress(engine: EngineConnection): EngineConnection {
  return { ...engine, endpoint: `tcp://${engine.address}:2375` }
}

async function runSuite({ seed, extent, faults, logs }: Options, stopped: () => boolean): Promise<number> {
  const slot = await claimSlot()
  const undo: (() => Promise<unknown>)[] = [() => slot.release()]
  const results: FaultResult[] = []
  try {
    const engines = await startEngines(slot, nodes)
    undo.push(() => Promise.all(engines.map((engine) => engine.stop())))
    const started = await startPlatform(
      slot,
      engines.map(({ connection }) => byAddress(connection)),
    )
    undo.push(started.stop)
    if (logs !== undefined)
      undo.push(() => cp(join(started.connection.data, 'logs'), logs, { recursive: true }))
    const suite = await openSuite(connectPlatform(started.connection), { seed, extent, engines })
    undo.push(() => suite.close())
    console.log(headLine())
    for (const fault of faults) {
      if (stopped()) break
      const result = await suite.run(fault)
      results.push(result)
      console.log(reportFault(result))
    }
  } finally {
    for (const step of undo.toReversed())
      await step().catch((error: unknown) => console.error(`while cleaning up: ${messageOf(error)}`))
  }
  const { line, exitCode } = summarise(results, seed)
  console.log(line)
  return results.length === faults.length ? exitCode : 1
}

async function main(): Promise<number> {
  if (process.getuid?.() !== 0)
    throw new Failure('The chaos suite starts Docker Engines of its own; run it as root.')
  const options = readOptions(process.argv.slice(2), singleFaults, mixedFault)
  console.log(`${options.extent} run, seed ${options.seed}, ${options.faults.length} faults`)
  let asked = false
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    void once(process, signal).then(() => {
      asked = true
      console.log('Stops after this fault.')
    })
  return await runSuite(options, () => asked)
}

main().then(
  (code) => process.exit(code),
  (error: unknown) => {
    console.error(error instanceof Failure ? error.message : error)
    process.exit(1)
  },
)
