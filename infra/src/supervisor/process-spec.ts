import type { Account } from '../machine/accounts.ts'

/** One process that the supervisor keeps alive. */
export type ProcessSpec = {
  name: string
  command: readonly string[]
  env: NodeJS.ProcessEnv
  cwd: string
  /** Runs as this user; absent: as the supervisor's own. */
  account?: Account
  /** Descriptors that become 3, 4, 5, ... of the process. */
  descriptors?: readonly number[]
  /** File mode mask of the process, for sockets that another user must reach. */
  umask?: number
  /** Resolves when the process `pid` answers; anything thrown means "not yet". */
  checkReady(pid: number): Promise<void>
  stopSignal: NodeJS.Signals
  /** Milliseconds from the stop signal to SIGKILL. */
  stopGraceMs: number
  /** Replaced by starting the new one beside the old one, which then gets the stop signal and may drain. */
  handover?: boolean
  /** With `handover`: how long the old one may drain before SIGKILL. */
  drainGraceMs?: number
}
