import {
  formatMemory,
  parseCpu,
  parseMemory,
  type ContainerTemplate,
  type Environment,
  type ProbeSpec,
  type ProbeTemplate,
  type RevisionTemplate,
  type ServiceSpec,
} from '@berth/contracts'

/*
 * The flat fields of the API and the template inside: containers as a list, resources as a map, a workload with a
 * kind. Both directions stand here and a property test walks them back and forth.
 */

type TemplateFields = Pick<
  ServiceSpec,
  | 'image'
  | 'port'
  | 'protocol'
  | 'command'
  | 'args'
  | 'cpu'
  | 'memory'
  | 'concurrency'
  | 'timeoutSeconds'
  | 'maxRequestBytes'
  | 'volumes'
  | 'readinessProbe'
  | 'startupProbe'
  | 'livenessProbe'
  | 'pool'
  | 'nodeSelector'
>

/** The template of a spec that has passed its schema. */
export function toTemplate(spec: TemplateFields): RevisionTemplate {
  const container: ContainerTemplate = {
    name: 'app',
    image: spec.image,
    command: spec.command,
    args: spec.args,
    ports: [{ port: spec.port, protocol: spec.protocol }],
    resources: { cpu: parseCpu(spec.cpu) ?? 0, memory: parseMemory(spec.memory) ?? 0 },
    ...(spec.volumes.length > 0 && { volumes: spec.volumes }),
    ...(spec.readinessProbe && { readinessProbe: toProbeTemplate(spec.readinessProbe) }),
    ...(spec.startupProbe && { startupProbe: toProbeTemplate(spec.startupProbe) }),
    ...(spec.livenessProbe && { livenessProbe: toProbeTemplate(spec.livenessProbe) }),
  }
  const { concurrency, timeoutSeconds, maxRequestBytes, pool, nodeSelector } = spec
  const limits = { timeoutSeconds, ...(maxRequestBytes !== undefined && { maxRequestBytes }) }
  return { kind: 'http', containers: [container], concurrency, ...limits, pool, nodeSelector }
}

/** The flat fields of a template. */
export function fromTemplate(template: RevisionTemplate) {
  const [container] = template.containers
  if (container === undefined) throw new Error('a template has a container')
  const { readinessProbe, startupProbe, livenessProbe } = container
  return {
    image: container.image,
    port: container.ports[0]?.port ?? 0,
    protocol: container.ports[0]?.protocol ?? 'http1',
    command: container.command,
    args: container.args,
    cpu: container.resources.cpu / 1000,
    memory: formatMemory(container.resources.memory),
    concurrency: template.concurrency,
    timeoutSeconds: template.timeoutSeconds,
    ...(template.maxRequestBytes !== undefined && { maxRequestBytes: template.maxRequestBytes }),
    volumes: container.volumes ?? [],
    ...(readinessProbe && { readinessProbe: fromProbeTemplate(readinessProbe) }),
    ...(startupProbe && { startupProbe: fromProbeTemplate(startupProbe) }),
    ...(livenessProbe && { livenessProbe: fromProbeTemplate(livenessProbe) }),
    pool: template.pool,
    nodeSelector: template.nodeSelector,
  }
}

/** The environment as it is sealed: a JSON object. */
export function encodeEnvironment(env: Environment): string {
  return JSON.stringify(env)
}

/** An empty text is an empty environment. */
export function decodeEnvironment(text: string): Record<string, string> {
  return text === '' ? {} : (JSON.parse(text) as Record<string, string>)
}

function toProbeTemplate({ httpGet, tcpSocket, grpc, ...timing }: ProbeSpec): ProbeTemplate {
  if (httpGet) {
    const { path, port, httpHeaders } = httpGet
    const check = { kind: 'httpGet', path, headers: httpHeaders ?? [], ...portOf(port) } as const
    return { check, ...timing }
  }
  if (grpc) {
    const service = grpc.service === undefined ? {} : { service: grpc.service }
    return { check: { kind: 'grpc', ...portOf(grpc.port), ...service }, ...timing }
  }
  return { check: { kind: 'tcpSocket', ...portOf(tcpSocket?.port) }, ...timing }
}

function fromProbeTemplate({ check, ...timing }: ProbeTemplate): ProbeSpec {
  const { kind: _, ...fields } = check
  if (check.kind === 'tcpSocket') return { tcpSocket: portOf(check.port), ...timing }
  if (check.kind === 'grpc') return { grpc: fields, ...timing }
  const httpHeaders = check.headers.length === 0 ? {} : { httpHeaders: check.headers }
  return { httpGet: { path: check.path, ...portOf(check.port), ...httpHeaders }, ...timing }
}

function portOf(port: number | undefined): { port?: number } {
  return port === undefined ? {} : { port }
}
