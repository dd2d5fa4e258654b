import type { desired } from '@berth/db'

/*
 * What a replica on a drained node waits for, in this order:
 *
 * deploying  the deployment of its service, which comes first
 * placing    a node for the one in its place
 * starting   the one in its place, or its own start, which is not broken off
 * draining   the end of its requests
 */
export type Stage = 'deploying' | 'placing' | 'starting' | 'draining'

export type StagedReplica = Pick<desired.LeavingReplica, 'state' | 'deploying' | 'replacementOn' | 'rung'>

export function stageOf({ state, deploying, replacementOn, rung }: StagedReplica): Stage {
  if (state === 'draining' || rung !== 'running') return 'draining'
  if (deploying) return 'deploying'
  return state === 'starting' || replacementOn !== null ? 'starting' : 'placing'
}
