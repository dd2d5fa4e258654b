import { setTimeout as delay } from 'node:timers/promises'
import { listContainers } from '../../../support/containers.ts'
import { until } from '../../../support/poll.ts'
import { msUntil, nowMs } from '../clock.ts'
import type { Fault, Finding } from '../fault.ts'
import { pickHolder, reachabilityOf } from '../node-state.ts'
import { replicaCount } from '../probed-service.ts'
import type { Stage } from '../stage.ts'

/** Docker Engines that die and come back, or stand still while their containers go on. */
export const engineFaults: readonly Fault[] = [
  {
    name: 'engine killed',
    target: { requests: { kind: 'none-sent-after', ms: 2000 }, healSeconds: 10 },
    run: killAndStartAgain,
  },
  {
    name: 'engine hung',
    target: {
      requests: { kind: 'none' },
      detectSeconds: 6,
      healSeconds: 15,
      state: 'deployments on other nodes are not delayed',
    },
    run: standStill,
  },
]

/** Without live-restore the engine that comes back stops everything it finds; published ports died with the old one. */
async function killAndStartAgain(stage: Stage): Promise<Finding> {
  const { holder } = await pickHolder(stage)
  const engine = stage.engines.get(holder.name)
  if (engine === undefined) throw new Error(`engine ${holder.name} cannot be started again by this run`)
  const injectedAt = nowMs()
  process.kill(engine.connection.pid, 'SIGKILL')
  await delay(stage.amount({ short: 1000, full: 3000 }))
  await engine.start()
  const upAt = nowMs()
  const healMs = await msUntil(upAt, () => allRun(stage), {
    describe: `${replicaCount} replicas that really run`,
    timeoutMs: 90_000,
  })
  return { injectedAt, healMs, problems: [] }
}

async function standStill(stage: Stage): Promise<Finding> {
  const { platform, service } = stage
  const { holder, others } = await pickHolder(stage)
  const other = stage.random.pick(others)
  const neighbour = `${service.name}-neighbour`
  const injectedAt = nowMs()
  const finding: Finding = { injectedAt, problems: [] }
  process.kill(holder.pid, 'SIGSTOP')
  try {
    const deployment = await platform.deploy(neighbour, {
      nodeSelector: { zone: other.name },
      memory: '96Mi',
    })
    if (deployment.phase !== 'succeeded')
      finding.problems.push(`a deployment on another node ended ${deployment.phase}: ${deployment.message}`)
    finding.detectMs = await msUntil(
      injectedAt,
      async () => (await reachabilityOf(stage, holder.name)) === 'down',
      { describe: `node ${holder.name} to be down` },
    )
    finding.healMs = await msUntil(
      injectedAt,
      async () => (await service.ready()).filter(({ node }) => node !== holder.name).length === replicaCount,
      { describe: `${replicaCount} ready replicas on other nodes` },
    )
  } finally {
    process.kill(holder.pid, 'SIGCONT')
  }
  await until(async () => (await reachabilityOf(stage, holder.name)) === 'ready', {
    timeoutMs: 60_000,
    describe: `node ${holder.name} to be ready again`,
  })
  await platform.remove(neighbour)
  return finding
}

/** What the API calls ready also runs, as the engines themselves say. */
async function allRun({ platform, service }: Stage): Promise<boolean> {
  const { engines, installation } = platform.connection
  const held = (await Promise.all(engines.map((engine) => listContainers(engine, installation)))).flat()
  const running = new Set(held.filter(({ State }) => State === 'running').map(({ Id }) => Id))
  const ready = await service.ready()
  return (
    ready.length === replicaCount &&
    ready.every(({ containers }) => containers.every(({ id }) => running.has(id)))
  )
}
