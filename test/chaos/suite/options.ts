import { randomInt } from 'node:crypto'
import { parseArgs } from 'node:util'
import { Failure } from '../../../infra/src/failure.ts'
import type { Fault } from './fault.ts'
import { seededRandom } from '../../support/random.ts'

export type Options = {
  seed: number
  extent: 'short' | 'full'
  /** In the order in which they come. */
  faults: readonly Fault[]
  /** A folder to which the platform's logs are copied before it is taken down. */
  logs: string | undefined
}

const largestSeed = 999_999

const usage = 'npm run chaos -- [--seed N] [--only NAME]... [--short] [--logs FOLDER]'

/**
 * Reads the command line. Single faults come in the order of the seed, the mixed ones last; `--only` takes a name or
 * its beginning and keeps what fits, in the order in which it was asked for. Throws a `Failure`.
 */
export function readOptions(args: readonly string[], single: readonly Fault[], mixed: Fault): Options {
  const { values } = parse(args)
  const seed = values.seed === undefined ? randomInt(1, largestSeed) : Number(values.seed)
  if (!Number.isInteger(seed) || seed < 0)
    throw new Failure(`--seed must be a whole number, not "${values.seed}"`)
  const faults =
    values.only === undefined
      ? [...seededRandom(seed, 'order').shuffle(single), mixed]
      : values.only.flatMap((name) => named(name, [...single, mixed]))
  return { seed, extent: values.short === true ? 'short' : 'full', faults, logs: values.logs }
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        seed: { type: 'string' },
        only: { type: 'string', multiple: true },
        short: { type: 'boolean' },
        logs: { type: 'string' },
      },
    })
  } catch (error) {
    throw new Failure(`${error instanceof Error ? error.message : String(error)}; ${usage}`, { cause: error })
  }
}

function named(name: string, faults: readonly Fault[]): Fault[] {
  const found = faults.filter((fault) => fault.name.startsWith(name))
  if (found.length > 0) return found
  throw new Failure(
    `no fault is called "${name}"; there are: ${faults.map((fault) => fault.name).join(', ')}`,
  )
}
