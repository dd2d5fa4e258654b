import type { Fence } from '../container-runtime.ts'
import { LeaseLostError } from '../engine-error.ts'

/** A lease that is held for ever. */
export const heldFence: Fence = { check: () => undefined }

/** A lease that somebody else has. */
export const lostFence: Fence = {
  check() {
    throw new LeaseLostError()
  },
}
