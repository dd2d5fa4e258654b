import type { NodeDrainView } from '@berth/contracts'
import { surgeScale } from '@berth/scheduler'
import { stageOf, type StagedReplica } from './drain-stage.ts'

export type DrainProgress = {
  leaving: readonly (StagedReplica & {
    service: string
    coldStartMs: number | undefined
    maxScale: number
    standing: number
  })[]
  moved: number
  elapsedMs: number
}

type Eta = Pick<NodeDrainView, 'etaSeconds' | 'etaFrom'>

const unknown: Eta = { etaSeconds: null, etaFrom: null }
/**
 * When nothing will be left. Once something has moved the rest is expected at the same pace. Before, what is known is
 * how long starts take: each service starts as many at once as it may have above what stands, and services move side by
 * side. Nobody knows how long requests go on, nor whether there is a node at all before one was found: with nothing
 * starting, or with more time gone than the starts take, there is no estimate.
 *
 * Example: 5 replicas of one service, 2 at a time, 4 s for a start: three rounds, 12 s.
 */
export function drainEta({ leaving, moved, elapsedMs }: DrainProgress): Eta {
  if (leaving.length === 0) return { etaSeconds: 0, etaFrom: null }
  const stages = new Set(leaving.map(stageOf))
  const onlyPlacing = stages.size === 1 && stages.has('placing')
  if (onlyPlacing) return unknown
  if (moved > 0) return { etaSeconds: inSeconds((elapsedMs / moved) * leaving.length), etaFrom: 'pace' }
  if (stages.has('deploying')) return unknown
  const leftMs = startsMs(leaving) - elapsedMs
  return leftMs > 0 ? { etaSeconds: inSeconds(leftMs), etaFrom: 'starts' } : unknown
}

/** 0 where nothing has to start, NaN where no start of a revision was ever measured. */
function startsMs(leaving: DrainProgress['leaving']): number {
  const starting = leaving.filter((replica) => ['placing', 'starting'].includes(stageOf(replica)))
  const services = [...Map.groupBy(starting, ({ service }) => service).values()]
  return Math.max(0, ...services.map(roundsMs))
}

function roundsMs(replicas: DrainProgress['leaving']): number {
  const [first] = replicas
  if (first === undefined) return 0
  const underWay = replicas.filter(({ replacementOn }) => replacementOn !== null).length
  const atOnce = Math.max(1, surgeScale(first.maxScale) - (first.standing - underWay))
  const slowestMs = Math.max(...replicas.map(({ coldStartMs }) => coldStartMs ?? NaN))
  return Math.ceil(replicas.length / atOnce) * slowestMs
}

function inSeconds(ms: number): number {
  return Math.ceil(ms / 1000)
}
