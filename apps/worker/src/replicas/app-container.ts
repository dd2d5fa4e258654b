import type { Environment } from '@berth/contracts'
import { EngineError, type AppSpec } from '@berth/engine'
import { appName, containerLabels } from './container-names.ts'
import type { ReplicaDeps, StartableReplica } from './replica-deps.ts'

/** What the app's container is made from, in its sandbox; `image` is an id. */
export function appContainer(
  { installation }: Pick<ReplicaDeps, 'installation'>,
  replica: StartableReplica,
  sandboxId: string,
  image: string,
): AppSpec {
  const container = replica.template.containers[0]
  if (container === undefined) throw new EngineError('InvalidSpec', 'the revision has no container')
  return {
    name: appName(installation, replica.id),
    sandboxId,
    image,
    command: container.command,
    args: container.args,
    env: appEnvironment(replica),
    memoryBytes: container.resources.memory,
    cpuMillis: container.resources.cpu,
    ...(replica.volumes.length > 0
      ? { volumes: replica.volumes.map(({ name, mountPath }) => ({ name, mountPath })) }
      : {}),
    labels: containerLabels({
      installation,
      role: 'app',
      project: replica.project,
      service: replica.service,
      revision: replica.revision,
      replica: replica.id,
    }),
  }
}

/** What the app sees: the user's variables and those of the container contract, which win. */
export function appEnvironment(
  replica: Pick<StartableReplica, 'env' | 'service' | 'revision' | 'template'>,
): Environment {
  return {
    ...replica.env,
    PORT: String(replica.template.containers[0]?.ports[0]?.port ?? 0),
    K_SERVICE: replica.service,
    K_REVISION: replica.revision,
    K_CONFIGURATION: replica.service,
  }
}
