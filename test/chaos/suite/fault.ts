import type { Stage } from './stage.ts'

/** What users may notice of a fault. */
export type RequestTarget =
  /** No request fails; of at least so many where a number is promised. */
  | { kind: 'none'; atLeast?: number }
  /** Only requests sent within the first `ms` after the injection may fail. */
  | { kind: 'none-sent-after'; ms: number }
  /** Printed and not judged: a promise for later, or a share that depends on how much was under way. */
  | { kind: 'measured'; promise: string }

/** A promise of the fault table. Times are printed and compared; only requests and state decide the exit code. */
export type Target = {
  requests: RequestTarget
  /** How long nobody may be answered at most. */
  gapSeconds?: number
  detectSeconds?: number
  healSeconds?: number
  /** What must be so about replicas, rows and containers beyond being whole again. */
  state?: string
}

/** What one run of a fault has shown. */
export type Finding = {
  /** When the fault began, in milliseconds since 1970; of the first round where there are several. */
  injectedAt: number
  /** Until the platform said that something is wrong; the longest of all rounds. */
  detectMs?: number
  /** Until what the fault took away was there again; the longest of all rounds. */
  healMs?: number
  /** Every promise about state that was not kept, in one sentence each. */
  problems: string[]
  /** Something worth a line of its own. */
  notes?: string[]
}

/** One thing that goes wrong. `run` injects it, waits until the platform has dealt with it and takes it back. */
export type Fault = {
  /** Short and unique; `--only` takes it. */
  name: string
  target: Target | ((stage: Stage) => Target)
  run(stage: Stage): Promise<Finding>
}

export function targetOf(fault: Fault, stage: Stage): Target {
  return typeof fault.target === 'function' ? fault.target(stage) : fault.target
}
