import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { link, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { codeOf } from '../../infra/src/failure.ts'
import { identify, isAlive, type ProcessIdentity } from '../../infra/src/machine/process-identity.ts'
import { removeLeftovers } from './leftovers.ts'

/**
 * A share of the machine for one test run: folders, bridge names and addresses that no other run uses. What a
 * run makes is written into its slot first, so that the next run can remove what a killed one left.
 */
export type Slot = {
  number: number
  /** Everything on disk lies below this folder. */
  folder: string
  /** Networks of replicas: the first half of the slot's 198.19.x.0/19. */
  networkCidr: string
  /** Three numbers of the second half: subnet of bridge or link `index` (0..7) without its last byte. */
  subnet(index: number): string
  /** A loopback address for engine `index`: 127.<20 + slot>.0.<index + 1>. */
  address(index: number): string
  record: SlotRecord
  /** Removes everything that the slot holds, and the slot. */
  release(): Promise<void>
}

/** What a run has made outside its folder. */
export type SlotRecord = {
  owner: ProcessIdentity
  bridges: string[]
  links: string[]
  namespaces: string[]
  /** Process records of supervisors (see infra's process-record). */
  processFiles: string[]
}

const root = '/var/lib/berth-test'
const slots = 8

/** Claims the first slot whose owner is gone, cleaning up after it. Throws when all are in use. */
export async function claimSlot(): Promise<Slot> {
  mkdirSync(root, { recursive: true, mode: 0o711 })
  for (let number = 0; number < slots; number += 1) {
    if (!(await take(number))) continue
    const slot = openSlot(number)
    // Also what no record tells of, such as a bridge of an engine that a tear-down could not wait for.
    await removeLeftovers(slot.folder, number, slot.record)
    return openSlot(number)
  }
  throw new Error(`all ${slots} slots below ${root} are in use by test runs that are still alive`)
}

/** Cleans up after every run that is gone, and frees its slot. Returns how many there were. */
export async function releaseDeadSlots(): Promise<number> {
  let released = 0
  for (const name of readNames()) {
    const number = Number(/^slot-(\d+)\.json$/.exec(name)?.[1] ?? '-1')
    if (number < 0 || !(await take(number))) continue
    await openSlot(number).release()
    released += 1
  }
  return released
}

/** Writes the record before something is made, so that nothing is made unseen. */
export function note(slot: Slot, list: Exclude<keyof SlotRecord, 'owner'>, entry: string): void {
  slot.record[list].push(entry)
  writeRecord(slot.number, slot.record)
}

function openSlot(number: number): Slot {
  const folder = join(root, String(number))
  mkdirSync(folder, { recursive: true, mode: 0o711 })
  const record = emptyRecord()
  const third = number * 32
  return {
    number,
    folder,
    networkCidr: `198.19.${third}.0/20`,
    subnet: (index) => `198.19.${third + 16 + index}`,
    address: (index) => `127.${20 + number}.0.${index + 1}`,
    record,
    async release() {
      await removeLeftovers(folder, number, record)
      rmSync(recordPath(number), { force: true })
    },
  }
}

/** True when the slot is this process's own now; a dead owner's things are removed before. */
async function take(number: number): Promise<boolean> {
  const path = recordPath(number)
  const draft = `${path}.${process.pid}`
  await writeFile(draft, JSON.stringify(emptyRecord()))
  try {
    for (;;) {
      try {
        await link(draft, path)
        return true
      } catch (error) {
        if (codeOf(error) !== 'EEXIST') throw error
      }
      const found = readRecord(path)
      if (found !== undefined && isAlive(found.owner)) return false
      // The record becomes ours first: of two runs that both see a dead owner only one cleans up.
      const grave = `${path}.dead.${process.pid}`
      try {
        renameSync(path, grave)
      } catch (error) {
        if (codeOf(error) === 'ENOENT') continue
        throw error
      }
      if (found !== undefined) {
        writeRecord(number, { ...found, owner: ownIdentity() })
        await removeLeftovers(join(root, String(number)), number, found)
        rmSync(path, { force: true })
      }
      rmSync(grave, { force: true })
    }
  } finally {
    await rm(draft, { force: true })
  }
}

function recordPath(number: number): string {
  return join(root, `slot-${number}.json`)
}

function readNames(): string[] {
  try {
    return readdirSync(root)
  } catch {
    return []
  }
}

function readRecord(path: string): SlotRecord | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as SlotRecord
  } catch {
    return undefined
  }
}

function writeRecord(number: number, record: SlotRecord): void {
  const path = recordPath(number)
  writeFileSync(`${path}.new`, JSON.stringify(record))
  renameSync(`${path}.new`, path)
}

function emptyRecord(): SlotRecord {
  return { owner: ownIdentity(), bridges: [], links: [], namespaces: [], processFiles: [] }
}

function ownIdentity(): ProcessIdentity {
  const own = identify(process.pid)
  if (own === undefined) throw new Error('/proc cannot be read')
  return own
}
