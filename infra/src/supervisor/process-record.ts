import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { messageOf } from '../failure.ts'
import { stopProcess } from '../machine/stop-process.ts'
import { isAlive, type ProcessIdentity } from '../machine/process-identity.ts'

export type RecordedProcess = ProcessIdentity & { name: string; stopSignal: NodeJS.Signals }

/**
 * The file in which a supervisor writes down every process that it starts, before it relies on it, so that
 * the next supervisor can end what a killed one left behind. Where the file cannot be written (a full disk) the
 * processes go on, `onProblem` is told once, and the next change tries again with all of them.
 */
export class ProcessRecord {
  readonly #file: string
  readonly #onProblem: (problem: string) => void
  readonly #processes = new Map<number, RecordedProcess>()
  #told = false

  constructor(file: string, onProblem: (problem: string) => void = () => undefined) {
    this.#file = file
    this.#onProblem = onProblem
  }

  add(entry: RecordedProcess): void {
    this.#processes.set(entry.pid, entry)
    this.#write()
  }

  remove(pid: number): void {
    if (this.#processes.delete(pid)) this.#write()
  }

  clear(): void {
    this.#processes.clear()
    rmSync(this.#file, { force: true })
  }

  #write(): void {
    try {
      writeFileSync(`${this.#file}.new`, JSON.stringify([...this.#processes.values()]), { mode: 0o600 })
      renameSync(`${this.#file}.new`, this.#file)
      this.#told = false
    } catch (error) {
      if (!this.#told) this.#onProblem(messageOf(error))
      this.#told = true
    }
  }
}

/** What a record holds that still runs; nothing when there is no record or it is damaged. */
export function readRecord(file: string): RecordedProcess[] {
  return readEntries(file).filter(isAlive)
}

/** Whether a supervisor that is gone has left its record: an orderly end takes it away. */
export function supervisorWasKilled(file: string): boolean {
  return readEntries(file).some((entry) => entry.name === 'supervisor' && !isAlive(entry))
}

function readEntries(file: string): RecordedProcess[] {
  try {
    const entries: unknown = JSON.parse(readFileSync(file, 'utf8'))
    return Array.isArray(entries) ? (entries as RecordedProcess[]) : []
  } catch {
    return []
  }
}

const leftoverGraceMs = 10_000
/** The supervisor goes first, so that it starts nothing again; stores go last, so that nobody misses them. */
const stopOrder = ['supervisor', 'router', 'api', 'worker', 'registry', 'redis', 'postgres']

/** Ends everything that an earlier supervisor left running. Returns the names, in the order they went. */
export async function stopLeftovers(file: string): Promise<string[]> {
  const kindOf = ({ name }: RecordedProcess) => name.replace(/-[0-9]+$/, '')
  const rank = (entry: RecordedProcess) => (stopOrder.indexOf(kindOf(entry)) + 1 || stopOrder.length) - 1
  const left = readRecord(file).toSorted((a, b) => rank(a) - rank(b))
  for (const entry of left) {
    await stopProcess(entry, entry.name === 'supervisor' ? 'SIGKILL' : entry.stopSignal, leftoverGraceMs)
  }
  rmSync(file, { force: true })
  return left.map(({ name }) => name)
}
