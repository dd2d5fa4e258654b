import { newId } from '@berth/contracts'
import { berthLabels, type DiskSpace, type Fence } from '@berth/engine'
import { containerLabels, sandboxName } from './container-names.ts'
import type { ReplicaHost } from './replica-deps.ts'

/**
 * The file system that the node's engine keeps images and containers on, read inside a sandbox: the Engine API tells
 * of no free space, and only what runs there sees the disk of another machine. Where no sandbox runs, one without a
 * network is started for it. Fails with an `EngineError`, or `LeaseLostError`.
 */
export async function measureDisk(
  { runtime, sandboxImage, address }: Pick<ReplicaHost, 'runtime' | 'sandboxImage'> & { address: string },
  { installation, fence }: { installation: string; fence: Fence },
): Promise<DiskSpace> {
  const sandbox = (await runtime.list({ installation })).find(
    ({ state, labels }) => state === 'running' && labels[berthLabels.role] === 'sandbox',
  )
  if (sandbox !== undefined) return await runtime.readDisk(sandbox.id)

  const owner = newId('ReplicaId').replace(/^rep-/, 'dsk-')
  const name = sandboxName(installation, owner)
  const labels = containerLabels({ installation, role: 'sandbox', project: '', replica: owner })
  const spec = { name, network: 'none', hostAddress: address, hostPort: 0, containerPort: 1, labels }
  try {
    const id = await runtime.createSandbox({ ...spec, image: sandboxImage }, fence)
    await runtime.startContainer(id, fence)
    return await runtime.readDisk(id)
  } finally {
    await runtime.remove(name, fence).catch(() => {})
  }
}
