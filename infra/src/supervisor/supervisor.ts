import { type ChildProcess, spawn } from 'node:child_process'
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

/** What is to run, in the order in which it starts. */
export type StartPlan = {
  stores: readonly ProcessSpec[]
  migrate: { command: readonly string[]; env: NodeJS.ProcessEnv } | undefined
  /** Started together, when the stores are ready and migrated. */
  apps: readonly ProcessSpec[]
}

export type SupervisorOptions = {
  installation: string
  ports: Readonly<Record<string, number>>
  logs: string
  /** Makes folders, configuration and sockets; what it throws is the problem of a start that has failed. */
  prepare(): Promise<StartPlan>
}

export type Say = (message: string, keys: Record<string, unknown>) => void

const readyTimeoutMs = 60_000
const migrateTimeoutMs = 120_000
const rotateEveryMs = 10_000

/** Brings the processes of a plan up in order, keeps them up, and takes them down in reverse. */
export class Supervisor {
  readonly #options: SupervisorOptions
  readonly #record: ProcessRecord
  readonly #say: Say
  readonly #rotation: NodeJS.Timeout
  #rotates = true
  #phase: SupervisorPhase = 'starting'
  #problem: string | null = null
  #blamed: string | null = null
  #stores: readonly SupervisedProcess[] = []
  #apps: readonly SupervisedProcess[] = []
  #migration: ChildProcess | undefined
  #start: Promise<void> | undefined

  constructor(options: SupervisorOptions, record: ProcessRecord, say: Say) {
    this.#options = options
    this.#record = record
    this.#say = say
    this.#rotation = setInterval(() => this.#rotateLogs(), rotateEveryMs)
    this.#rotation.unref()
  }

  status(): SupervisorStatus {
    return {
      phase: this.#phase,
      problem: this.#problem,
      blamed: this.#blamed,
      installation: this.#options.installation,
      ports: this.#options.ports,
      processes: this.#processes().map((each) => each.status()),
    }
  }

  /** Resolves when everything is ready or the start has failed (see `status`). */
  start(): Promise<void> {
    this.#start ??= this.#bringUp()
    return this.#start
  }

  async #bringUp(): Promise<void> {
    try {
      const plan = await this.#options.prepare()
      this.#stores = plan.stores.map((spec) => this.#supervise(spec))
      this.#apps = plan.apps.map((spec) => this.#supervise(spec))
      await this.#startAll(this.#stores)
      await this.#migrate(plan.migrate)
      // The API and the worker do not wait for each other; the router is told about the leader by both.
      await this.#startAll(this.#apps)
      this.#requireStarting()
      this.#phase = 'ready'
      this.#say('everything is ready', {})
    } catch (error) {
      if (this.#phase === 'stopping') return
      this.#phase = 'failed'
      this.#problem = messageOf(error)
      this.#blamed ??= this.#processes().find((each) => each.status().state !== 'ready')?.spec.name ?? null
      this.#say('start failed', { problem: this.#problem })
    }
  }

  #supervise(spec: ProcessSpec): SupervisedProcess {
    const log = join(this.#options.logs, `${spec.name}.log`)
    return new SupervisedProcess(spec, log, this.#record, this.#say)
  }

  #processes(): SupervisedProcess[] {
    return [...this.#stores, ...this.#apps]
  }

  async #startAll(processes: readonly SupervisedProcess[]): Promise<void> {
    this.#requireStarting()
    for (const each of processes) each.start()
    await Promise.all(processes.map((each) => each.whenReady(readyTimeoutMs)))
  }

  /** Nothing more is started once everything is to stop. */
  #requireStarting(): void {
    if (this.#phase !== 'starting') throw new Error('the start was cut short')
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
    const found = this.#processes().find(({ spec }) => spec.name === name)
    if (found !== undefined) return found
    const names = this.#processes().map(({ spec }) => spec.name)
    throw new Failure(`There is no process "${name}"; there are ${names.join(', ')}.`)
  }

  /** Stops everything, the last started first. Each has its own deadline, so this ends. */
  async stop(): Promise<void> {
    this.#phase = 'stopping'
    clearInterval(this.#rotation)
    this.#migration?.kill('SIGTERM')
    for (const each of this.#apps.toReversed()) await each.stop()
    await Promise.all(this.#stores.map((each) => each.stop()))
    await this.#start
    this.#say('everything has stopped', {})
  }

  /** One run to its end, with its output in migrate.log. */
  async #migrate(migration: StartPlan['migrate']): Promise<void> {
    if (migration === undefined) return
    this.#requireStarting()
    const { command, env } = migration
    const [file, ...args] = command
    const child = withLogDescriptor(join(this.#options.logs, 'migrate.log'), (log) =>
      spawn(file ?? '', args, { env, stdio: ['ignore', log, log], timeout: migrateTimeoutMs, cwd: '/' }),
    )
    this.#migration = child
    const code = await new Promise<number | null>((resolve, reject) => {
      child.once('error', reject)
      child.once('exit', resolve)
    })
    if (code === 0) return
    this.#blamed = 'migrate'
    throw new Error(`the database could not be migrated (exit code ${code})`)
  }

  /** A log that cannot be rotated (the disk is full) goes on as it is, and is told once. */
  #rotateLogs(): void {
    const names = [...this.#processes().map(({ spec }) => spec.name), 'migrate', 'dockerd', 'supervisor']
    try {
      for (const name of names) rotateLog(join(this.#options.logs, `${name}.log`))
      this.#rotates = true
    } catch (error) {
      if (this.#rotates) this.#say('logs cannot be rotated', { problem: messageOf(error) })
      this.#rotates = false
    }
  }
}
