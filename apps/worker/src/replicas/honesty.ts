import { newId } from '@berth/contracts'
import { isEngineError, type ContainerRuntime, type Fence } from '@berth/engine'
import { randomInt } from 'node:crypto'
import { tryConnect } from './connect-probe.ts'
import { containerLabels, sandboxName } from './container-names.ts'

/** Outside the range of replicas and of the kernel's ephemeral ports. */
const portRange = { first: 30_000, last: 32_767 } as const
const containerPort = 8080
const connectTimeoutMs = 1_000
const attempts = 5

/**
 * Whether a connect to a published port behind which nothing listens is refused on this node. Docker's userland
 * proxy accepts it. A node that cannot be reached at all counts as not honest: its sandboxes are asked instead.
 * Fails with an `EngineError`.
 */
export async function checkHonesty(
  runtime: ContainerRuntime,
  node: { address: string },
  options: { installation: string; sandboxImage: string; fence: Fence },
): Promise<boolean> {
  const { installation, sandboxImage, fence } = options
  const owner = newId('ReplicaId').replace(/^rep-/, 'hon-')
  const name = sandboxName(installation, owner)
  const labels = containerLabels({ installation, role: 'sandbox', project: '', replica: owner })
  for (let attempt = 1; ; attempt += 1) {
    const hostPort = randomInt(portRange.first, portRange.last + 1)
    const spec = { name, network: 'bridge', hostAddress: node.address, hostPort, containerPort, labels }
    try {
      const id = await runtime.createSandbox({ ...spec, image: sandboxImage }, fence)
      await runtime.startContainer(id, fence)
      return (await tryConnect(node.address, hostPort, connectTimeoutMs)) === 'refused'
    } catch (error) {
      if (!isEngineError(error, 'PortTaken') || attempt === attempts) throw error
    } finally {
      await runtime.remove(name, fence).catch(() => {})
    }
  }
}
