import { type ChildProcess, spawn, type StdioOptions } from 'node:child_process'
import { setTimeout as delay } from 'node:timers/promises'
import { messageOf } from '../failure.ts'
import { identify } from '../machine/process-identity.ts'
import { withLogDescriptor } from './log-file.ts'
import type { ProcessRecord } from './process-record.ts'
import type { ProcessSpec } from './process-spec.ts'
import { countDeaths, restartDelayMs } from './restart-delay.ts'

/**
 * stopped      not started yet, or ended because it was asked to
 * starting     runs, has not answered yet
 * ready        has answered since it was started
 * backing-off  ended by itself; started again after a delay
 * stopping     has its stop signal, or is replaced by a new one that is already ready
 */
export type ProcessState = 'stopped' | 'starting' | 'ready' | 'backing-off' | 'stopping'

export type ProcessStatus = {
  name: string
  state: ProcessState
  pid: number | null
  /** Starts after the first one. */
  restarts: number
  startedAt: string | null
  /** Why it ended the last time ("exit code 1"), or why it is not ready. */
  lastProblem: string | null
}

type Run = { child: ChildProcess; pid: number; startedAtMs: number; ended: Promise<void>; retired: boolean }

const readyPollMs = 50
const settleMs = 1000
/** After this many deaths in a row (about 6 s) a start is not waited for any longer; tries go on. */
const hopelessDeaths = 5

/** Keeps one process alive: starts it, tells when it is ready, starts it again when it ends, stops it. */
export class SupervisedProcess {
  readonly spec: ProcessSpec
  readonly #logFile: string
  readonly #record: ProcessRecord
  readonly #say: (message: string, keys: Record<string, unknown>) => void
  #state: ProcessState = 'stopped'
  #run: Run | undefined
  readonly #retired = new Set<Run>()
  #starts = 0
  #deaths = 0
  #lastProblem: string | null = null
  #wanted = false
  #timer: NodeJS.Timeout | undefined

  constructor(
    spec: ProcessSpec,
    logFile: string,
    record: ProcessRecord,
    say: (message: string, keys: Record<string, unknown>) => void,
  ) {
    this.spec = spec
    this.#logFile = logFile
    this.#record = record
    this.#say = say
  }

  status(): ProcessStatus {
    return {
      name: this.spec.name,
      state: this.#state,
      pid: this.#run?.pid ?? null,
      restarts: Math.max(this.#starts - 1, 0),
      startedAt: this.#run === undefined ? null : new Date(this.#run.startedAtMs).toISOString(),
      lastProblem: this.#lastProblem,
    }
  }

  /** Starts it and keeps it running from now on. */
  start(): void {
    if (this.#wanted) return
    this.#wanted = true
    this.#deaths = 0
    this.#launch()
  }

  /**
   * Resolves when it is ready; rejects with its last problem after `timeoutMs`, when it keeps on ending, and when it
   * is stopped meanwhile.
   */
  async whenReady(timeoutMs: number): Promise<void> {
    const deadline = performance.now() + timeoutMs
    while (this.#state !== 'ready') {
      if (!this.#wanted) throw new Error(`${this.spec.name} was stopped`)
      if (this.#deaths > hopelessDeaths)
        throw new Error(
          `${this.spec.name} ended ${this.#deaths} times: ${this.#lastProblem ?? 'no reason known'}`,
        )
      if (performance.now() > deadline)
        throw new Error(
          `${this.spec.name} was not ready after ${timeoutMs / 1000} s: ${this.#lastProblem ?? this.#state}`,
        )
      await delay(readyPollMs)
    }
  }

  /** Stops it for good: the stop signal, SIGKILL after its grace. */
  async stop(): Promise<void> {
    this.#wanted = false
    clearTimeout(this.#timer)
    const runs = [...this.#retired, ...(this.#run === undefined ? [] : [this.#run])]
    this.#state = runs.length === 0 ? 'stopped' : 'stopping'
    await Promise.all(runs.map((run) => this.#end(run)))
    this.#state = 'stopped'
  }

  /**
   * A new one in the place of the old one. With `handover` the old one goes on until the new one is ready, and
   * then drains in the background; when the new one does not become ready the old one stays.
   */
  async replace(readyTimeoutMs: number): Promise<void> {
    const old = this.#run
    if (old === undefined || this.spec.handover !== true) {
      await this.stop()
      this.start()
      await this.whenReady(readyTimeoutMs)
      return
    }
    const fresh = this.#spawn()
    if (fresh === undefined) throw new Error(`${this.spec.name} could not be started: ${this.#lastProblem}`)
    try {
      await this.#answers(fresh, readyTimeoutMs)
      // Both may share the port that was asked: the new one must also have outlived its own start.
      await delay(settleMs)
      await this.#answers(fresh, readyTimeoutMs)
    } catch (error) {
      await this.#end(fresh)
      throw error
    }
    this.#run = fresh
    this.#state = 'ready'
    old.retired = true
    this.#retired.add(old)
    void this.#end(old, this.spec.drainGraceMs).finally(() => this.#retired.delete(old))
    if (fresh.child.exitCode !== null || fresh.child.signalCode !== null) this.#fellOver(fresh)
  }

  #launch(): void {
    const run = this.#spawn()
    if (run === undefined) {
      this.#backOff(0)
      return
    }
    this.#run = run
    this.#state = 'starting'
    void this.#watch(run)
  }

  #spawn(): Run | undefined {
    const [file, ...args] = this.spec.command
    const { account, umask, descriptors = [] } = this.spec
    this.#starts += 1
    const before = umask === undefined ? undefined : process.umask(umask)
    try {
      const child = withLogDescriptor(this.#logFile, (log) => {
        const stdio: StdioOptions = ['ignore', log, log, ...descriptors]
        return spawn(file ?? '', args, { cwd: this.spec.cwd, env: this.spec.env, stdio, ...account })
      })
      child.on('error', (error) => (this.#lastProblem = messageOf(error)))
      if (child.pid === undefined) return undefined
      const identity = identify(child.pid)
      if (identity !== undefined)
        this.#record.add({ ...identity, name: this.spec.name, stopSignal: this.spec.stopSignal })
      const run: Run = {
        child,
        pid: child.pid,
        startedAtMs: Date.now(),
        ended: new Promise((resolve) => child.once('exit', () => resolve())),
        retired: false,
      }
      child.once('exit', () => {
        this.#record.remove(run.pid)
        if (this.#run === run) this.#fellOver(run)
      })
      return run
    } catch (error) {
      this.#lastProblem = messageOf(error)
      return undefined
    } finally {
      if (before !== undefined) process.umask(before)
    }
  }

  async #watch(run: Run): Promise<void> {
    try {
      await this.#answers(run, Number.POSITIVE_INFINITY)
      if (this.#run !== run || this.#state !== 'starting') return
      this.#state = 'ready'
      this.#lastProblem = null
      this.#say('process became ready', {
        process: this.spec.name,
        pid: run.pid,
        ms: Date.now() - run.startedAtMs,
      })
    } catch {
      // It ended before it answered; the exit handler has taken over.
    }
  }

  /** Resolves when `run` has answered; rejects when it ended or the time is over. */
  async #answers(run: Run, timeoutMs: number): Promise<void> {
    const deadline = performance.now() + timeoutMs
    for (;;) {
      if (run.child.exitCode !== null || run.child.signalCode !== null)
        throw new Error(`${this.spec.name} ended while it was starting`)
      try {
        await this.spec.checkReady(run.pid)
        return
      } catch (error) {
        if (this.#run === run && this.#state === 'starting') this.#lastProblem = messageOf(error)
        if (performance.now() > deadline)
          throw new Error(`${this.spec.name} did not become ready`, { cause: error })
      }
      await delay(readyPollMs)
    }
  }

  #fellOver(run: Run): void {
    this.#run = undefined
    if (!this.#wanted) return
    const how =
      run.child.signalCode === null ? `exit code ${run.child.exitCode}` : `signal ${run.child.signalCode}`
    const ranMs = Date.now() - run.startedAtMs
    this.#lastProblem = `ended with ${how} after ${(ranMs / 1000).toFixed(1)} s`
    this.#backOff(ranMs)
  }

  #backOff(ranMs: number): void {
    this.#deaths = countDeaths(this.#deaths, ranMs)
    this.#state = 'backing-off'
    const delayMs = restartDelayMs(this.#deaths)
    this.#say('process ended', { process: this.spec.name, problem: this.#lastProblem, restartInMs: delayMs })
    this.#timer = setTimeout(() => this.#wanted && this.#launch(), delayMs)
  }

  async #end(run: Run, graceMs = this.spec.stopGraceMs): Promise<void> {
    if (run.child.exitCode !== null || run.child.signalCode !== null) return
    run.child.kill(this.spec.stopSignal)
    const killer = setTimeout(() => {
      this.#say('process had to be killed', { process: this.spec.name, pid: run.pid })
      run.child.kill('SIGKILL')
    }, graceMs)
    await run.ended
    clearTimeout(killer)
  }
}
