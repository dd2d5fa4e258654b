import { messageOf } from '../../../infra/src/failure.ts'
import { until } from '../../support/poll.ts'
import { replicaCount } from './probed-service.ts'
import type { Stage } from './stage.ts'

/** What is still wrong some time after a fault was taken back, one sentence each; empty when all is as it was. */
export async function whatIsNotWhole(stage: Stage): Promise<string[]> {
  const { platform, service } = stage
  const checks = [
    until(async () => (await platform.api('GET', '/services')).status === 200, {
      timeoutMs: 60_000,
      describe: 'the API to answer',
    }),
    until(() => allNodesReady(stage), {
      timeoutMs: 60_000,
      describe: 'every node to be ready',
    }),
    service.settled(replicaCount),
  ]
  const outcomes = await Promise.allSettled(checks)
  return outcomes.flatMap((outcome) =>
    outcome.status === 'fulfilled' ? [] : [`not whole afterwards: ${messageOf(outcome.reason)}`],
  )
}

async function allNodesReady({ platform }: Stage): Promise<boolean> {
  const { body } = await platform.expectApi([200], 'GET', '/nodes')
  const { items } = body as { items: { status: { reachability: string } }[] }
  return items.every(({ status }) => status.reachability === 'ready')
}
