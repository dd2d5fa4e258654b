import type { Labels } from './container-runtime.ts'

/** The labels that Berth sets on everything it makes (design section 7). An image may carry them too: the database decides. */
export const berthLabels = {
  installation: 'berth.installation',
  project: 'berth.project',
  service: 'berth.service',
  revision: 'berth.revision',
  replica: 'berth.replica',
  /** `sandbox`, `app`, `network`, `volume` or `volume-helper`. */
  role: 'berth.role',
} as const

/** Docker's filter for what belongs to an installation. */
export function ownedBy(installation: string): string {
  return JSON.stringify({ label: [`${berthLabels.installation}=${installation}`] })
}

/** The names of `wanted` labels which `found` has not, or has with another value. */
export function missingLabels(wanted: Labels, found: Labels): string[] {
  return Object.entries(wanted)
    .filter(([name, value]) => found[name] !== value)
    .map(([name]) => `label ${name}`)
}
