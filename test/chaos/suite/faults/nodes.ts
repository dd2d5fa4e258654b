import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { EngineConnection } from '../../../support/engines.ts'
import { until } from '../../../support/poll.ts'
import { longest, msUntil, nowMs } from '../clock.ts'
import type { Fault, Finding } from '../fault.ts'
import { pickHolder, reachabilityOf } from '../node-state.ts'
import { replicaCount } from '../probed-service.ts'
import type { Stage } from '../stage.ts'

/** A router may go on sending to a node that is gone for this long. */
const noticeMs = 2000

/** Nodes whose packets are dropped, as those of a host that lost its power, and nodes that may take nothing new. */
export const nodeFaults: readonly Fault[] = [
  {
    name: 'node gone',
    target: {
      requests: { kind: 'none-sent-after', ms: noticeMs },
      detectSeconds: 6,
      healSeconds: 15,
      state: 'back again, its old replicas get no request',
    },
    run: loseOne,
  },
  {
    name: 'two nodes gone',
    target: {
      requests: { kind: 'none-sent-after', ms: noticeMs },
      detectSeconds: 6,
      state: 'nothing is rescheduled, and the hold is said',
    },
    run: loseTwo,
  },
  {
    name: 'node cordoned',
    target: { requests: { kind: 'none' }, state: 'a deployment puts nothing on it' },
    run: cordonOne,
  },
  {
    name: 'node drained',
    target: {
      requests: { kind: 'none' },
      gapSeconds: 1,
      state: 'replicas elsewhere come first, and nothing is left on it',
    },
    run: drainSome,
  },
]

async function loseOne(stage: Stage): Promise<Finding> {
  const { service, partition } = stage
  const { holder } = await pickHolder(stage)
  const lost = (await service.ready()).filter(({ node }) => node === holder.name)
  const injectedAt = nowMs()
  const finding: Finding = { injectedAt, problems: [] }
  await partition.cut(holder.address)
  try {
    finding.detectMs = await msUntil(injectedAt, () => isDown(stage, holder), {
      describe: `node ${holder.name} to be down`,
    })
    finding.healMs = await msUntil(injectedAt, () => replacedElsewhere(stage, holder), {
      describe: `${replicaCount} ready replicas on other nodes`,
    })
    await delay(stage.amount({ short: 5000, full: 45_000 }))
  } finally {
    await partition.mend(holder.address)
  }
  await waitForReturn(stage, holder)
  await delay(5000)
  finding.problems.push(...(await answersOfTheLost(stage, lost, injectedAt + noticeMs)))
  return finding
}

async function loseTwo(stage: Stage): Promise<Finding> {
  const { platform, service, partition, random } = stage
  const gone = random.shuffle(platform.connection.engines).slice(1)
  const injectedAt = nowMs()
  const finding: Finding = { injectedAt, problems: [] }
  for (const { address } of gone) await partition.cut(address)
  try {
    finding.detectMs = await msUntil(
      injectedAt,
      async () => (await Promise.all(gone.map((engine) => isDown(stage, engine)))).every(Boolean),
      { describe: 'both nodes to be down' },
    )
    // What began when only the first was known to be gone may go on.
    await delay(2000)
    const known = new Set((await platform.replicas(service.name)).map(({ id }) => id))
    await delay(stage.amount({ short: 10_000, full: 25_000 }))
    const fresh = (await platform.replicas(service.name)).filter(({ id }) => !known.has(id))
    if (fresh.length > 0) finding.problems.push(`${fresh.length} replicas were started during the hold`)
    finding.problems.push(...(await whereTheHoldIsSaid(stage)))
  } finally {
    for (const { address } of gone) await partition.mend(address)
  }
  for (const engine of gone) await waitForReturn(stage, engine)
  await service.serving()
  return finding
}

async function cordonOne(stage: Stage): Promise<Finding> {
  const { platform, service } = stage
  const { holder } = await pickHolder(stage)
  const injectedAt = nowMs()
  const problems: string[] = []
  await platform.expectApi([200, 202], 'POST', `/nodes/${holder.name}/cordon`)
  try {
    problems.push(...(await service.outcomeOf(await service.insist())))
    const there = (await service.serving()).filter(({ node }) => node === holder.name)
    if (there.length > 0) problems.push(`${there.length} new replicas are on the cordoned node`)
  } finally {
    await platform.expectApi([200, 202], 'POST', `/nodes/${holder.name}/uncordon`)
  }
  return { injectedAt, problems }
}

/** Drains one node after the other under load, and takes each back into service. */
async function drainSome(stage: Stage): Promise<Finding> {
  const { platform, service } = stage
  const injectedAt = nowMs()
  const took: number[] = []
  const problems: string[] = []
  for (let round = 0; round < stage.amount({ test: 1, short: 3, full: 10 }); round += 1) {
    const { holder } = await pickHolder(stage)
    const since = nowMs()
    await platform.expectApi([200, 202], 'POST', `/nodes/${holder.name}/drain`)
    try {
      let fewest = replicaCount
      await msUntil(
        since,
        async () => {
          const ready = await service.ready()
          fewest = Math.min(fewest, ready.length)
          return ready.length === replicaCount && ready.every(({ node }) => node !== holder.name)
        },
        { describe: `${replicaCount} ready replicas on other nodes than ${holder.name}`, timeoutMs: 120_000 },
      )
      took.push(nowMs() - since)
      if (fewest < replicaCount) problems.push(`only ${fewest} replicas were ready during a drain`)
    } finally {
      await platform.expectApi([200, 202], 'POST', `/nodes/${holder.name}/uncordon`)
    }
  }
  return { injectedAt, healMs: longest(took) ?? 0, problems }
}

async function isDown(stage: Stage, { name }: EngineConnection): Promise<boolean> {
  return (await reachabilityOf(stage, name)) === 'down'
}

async function replacedElsewhere({ service }: Stage, { name }: EngineConnection): Promise<boolean> {
  const elsewhere = (await service.ready()).filter(({ node }) => node !== name)
  return elsewhere.length === replicaCount
}

async function waitForReturn(stage: Stage, { name }: EngineConnection): Promise<void> {
  await until(async () => (await reachabilityOf(stage, name)) === 'ready', {
    timeoutMs: 60_000,
    intervalMs: 100,
    describe: `node ${name} to be ready again`,
  })
}

/** Replicas that were given up with their node must not answer what was sent after `since`, also when it is back. */
async function answersOfTheLost(
  stage: Stage,
  lost: readonly { id: string; containers: readonly { name: string; id: string }[] }[],
  since: number,
): Promise<string[]> {
  const { lastAnswers } = await stage.seen()
  return lost.flatMap(({ id, containers }) => {
    const sandbox = containers.find(({ name }) => name === 'sandbox')?.id.slice(0, 12) ?? ''
    const last = lastAnswers[sandbox] ?? 0
    return last <= since
      ? []
      : [
          `replica ${id} of the lost node answered a request sent ${Math.round(last - since + noticeMs)} ms after the loss`,
        ]
  })
}

/** The hold belongs where users and operators look; the worker's log alone is not "saying so". */
async function whereTheHoldIsSaid({ platform, service }: Stage): Promise<string[]> {
  const { conditions } = (await platform.service(service.name)).status
  const { body: nodes } = await platform.expectApi([200], 'GET', '/nodes')
  if (JSON.stringify([conditions, nodes]).includes('on hold')) return []
  const log = await readFile(join(platform.connection.data, 'logs/worker.log'), 'utf8')
  return [
    log.includes('rescheduling on hold')
      ? 'the hold is said in the log of the worker only, not in the service or its nodes'
      : 'nothing says that rescheduling is on hold',
  ]
}
