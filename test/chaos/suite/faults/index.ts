import type { Fault } from '../fault.ts'
import { appFaults } from './apps.ts'
import { engineFaults } from './engines.ts'
import { nodeFaults } from './nodes.ts'
import { processFaults } from './processes.ts'
import { rolloutFaults } from './rollouts.ts'
import { storeFaults } from './stores.ts'

export { mixedFault } from './mixed.ts'

/** Every fault that comes alone. */
export const singleFaults: readonly Fault[] = [
  ...rolloutFaults,
  ...processFaults,
  ...storeFaults,
  ...engineFaults,
  ...nodeFaults,
  ...appFaults,
]
