import type { EngineConnection } from '../../support/engines.ts'
import type { Stage } from './stage.ts'

type NodeBody = { name: string; status: { reachability: string; message: string | null } }

export async function reachabilityOf({ platform }: Stage, node: string): Promise<string> {
  const { body } = await platform.expectApi([200], 'GET', `/nodes/${node}`)
  return (body as NodeBody).status.reachability
}

/** An engine that holds at least one ready replica of the probed service, and one that is not it. */
export async function pickHolder(
  stage: Stage,
): Promise<{ holder: EngineConnection; others: readonly EngineConnection[] }> {
  const { engines } = stage.platform.connection
  const nodes = new Set((await stage.service.serving()).map(({ node }) => node))
  const holder = stage.random.pick(engines.filter(({ name }) => nodes.has(name)))
  return { holder, others: engines.filter((engine) => engine !== holder) }
}
