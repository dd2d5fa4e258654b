import { spawn } from 'node:child_process'
import { Failure, messageOf } from '../failure.ts'
import { join } from 'node:path'
import { rotateLog, withLogDescriptor } from './log-file.ts'
import type { ProcessRecord } from './process-record.ts'
import type { ProcessSpec } from './process-spec.ts'
import { type ProcessStatus, SupervisedProcess } from './supervised-process.ts'

/**
 * starting  stores, migration and apps come up in this order
 * ready     everything has been ready once; what dies is started again
 * failed    a step of the start did not succeed; what is up stays up until somebody stops it
 * stopping  everything goes down in reverse order
 */
export type SupervisorPhase = 'starting' | 'ready' | 'failed' | 'stopping'

export type SupervisorStatus = {
  phase: SupervisorPhase
  problem: string | null
  /** Whose log (`<name>.log`) tells more about the problem. */
  blamed: string | null
  installation: string
  ports: Readonly<Record<string, number>>
  processes: ProcessStatus[]
}

export type StartPlan = {
  installation: string
  ports: Readonly<Record<string, number>>
  logs: string
  stores: readonly ProcessSpec[]
  migrate: { command: readonly string[]; env: NodeJS.ProcessEnv } | undefined
  /** Started one after the other, each when the one before is ready. */
  apps: readonly ProcessSpec[]
}

type Say = (message: string, keys: Record<string, unknown>) => void

const readyTimeoutMs = 60_000
const migrateTimeoutMs = 120_000
const rotateEveryMs = 10_000

/** Brings the processes of a plan up in order, keeps them up, and takes them down in reverse. */
export class Supervisor {
  readonly #plan: StartPlan
  readonly #processes: SupervisedProcess[]
  readonly #say: Say
  readonly #rotation: NodeJS.Timeout
  #phase: SupervisorPhase = 'starting'
  #problem: string | null = null
  #blamed: string | null = null

  constructor(plan: StartPlan, record: ProcessRecord, say: Say) {
    this.#plan = plan
    this.#say = say
    this.#processes = [...plan.stores, ...plan.apps].map(
      (spec) => new SupervisedProcess(spec, join(plan.logs, `${spec.name}.log`), record, say),
    )
    this.#rotation = setInterval(() => {
      const files = this.#processes.map(({ logFile }) => logFile)
      for (const file of [...files, join(plan.logs, 'supervisor.log')]) rotateLog(file)
    }, rotateEveryMs)
    this.#rotation.unref()
  }

  status(): SupervisorStatus {
    return {
      phase: this.#phase,
      problem: this.#problem,
      blamed: this.#blamed,
      installation: this.#plan.installation,
      ports: this.#plan.ports,
      processes: this.#processes.map((each) => each.status()),
    }
  }

  /** Resolves when everything is ready or the start has failed (see `status`). */
  async start(): Promise<void> {
    try {
      const stores = this.#processes.slice(0, this.#plan.stores.length)
      for (const store of stores) store.start()
      await Promise.all(stores.map((store) => store.whenReady(readyTimeoutMs)))
      await this.#migrate()
      const apps = this.#processes.slice(this.#plan.stores.length)
      // The API and the worker do not wait for each other; the router is told about the leader by both.
      for (const app of apps) app.start()
      await Promise.all(apps.map((app) => app.whenReady(readyTimeoutMs)))
      if (this.#phase === 'starting') this.#phase = 'ready'
      this.#say('everything is ready', {})
    } catch (error) {
      if (this.#phase === 'stopping') return
      this.#phase = 'failed'
      this.#problem = messageOf(error)
      this.#blamed ??= this.#processes.find((each) => each.status().state !== 'ready')?.spec.name ?? null
      this.#say('start failed', { problem: this.#problem })
    }
  }

  /** Replaces one process, without losing a request where it can hand over. Failure for an unknown name. */
  async restart(name: string): Promise<void> {
    await this.#find(name).replace(readyTimeoutMs)
  }

  /** Stops one process until `resume` starts it again. Failure for an unknown name. */
  async pause(name: string): Promise<void> {
    await this.#find(name).stop()
  }

  /** Starts a process that was stopped, and waits until it is ready. */
  async resume(name: string): Promise<void> {
    const found = this.#find(name)
    found.start()
    await found.whenReady(readyTimeoutMs)
  }

  #find(name: string): SupervisedProcess {
    const found = this.#processes.find(({ spec }) => spec.name === name)
    if (found !== undefined) return found
    const names = this.#processes.map(({ spec }) => spec.name).join(', ')
    throw new Failure(`There is no process "${name}"; there are ${names}.`)
  }

  /** Stops everything, the last started first. Each has its own deadline, so this ends. */
  async stop(): Promise<void> {
    this.#phase = 'stopping'
    clearInterval(this.#rotation)
    const stores = this.#plan.stores.length
    for (const each of this.#processes.slice(stores).toReversed()) await each.stop()
    await Promise.all(this.#processes.slice(0, stores).map((each) => each.stop()))
    this.#say('everything has stopped', {})
  }

  /** One run to its end, with its output in migrate.log. */
  async #migrate(): Promise<void> {
    if (this.#plan.migrate === undefined) return
    const { command, env } = this.#plan.migrate
    const [file, ...args] = command
    const child = withLogDescriptor(join(this.#plan.logs, 'migrate.log'), (log) =>
      spawn(file ?? '', args, { env, stdio: ['ignore', log, log], timeout: migrateTimeoutMs, cwd: '/' }),
    )
    const code = await new Promise<number | null>((resolve, reject) => {
      child.once('error', reject)
      child.once('exit', resolve)
    })
    if (code === 0) return
    this.#blamed = 'migrate'
    throw new Error(`the database could not be migrated (exit code ${code})`)
  }
}
