import { createHash } from 'node:crypto'
import type { ContainerUsage, EngineInfo } from './container-runtime.ts'
import { infoAnswer, readAnswer, statsAnswer } from './engine-answers.ts'
import type { EngineConnection } from './engine-connection.ts'

/**
 * What the engine says about itself and its machine. Docker tells no machine id, so `machineId` is made of what
 * two engines on one machine have in common and two machines hardly ever: host name, kernel, memory and cores.
 */
export async function info(engine: EngineConnection): Promise<EngineInfo> {
  const version = await engine.ping()
  const what = 'ask the engine about itself'
  const { body } = await engine.read({ what, method: 'GET', path: '/info', limitMs: engine.limits.readMs })
  const answer = readAnswer(infoAnswer, body, what)
  const machine = [answer.Name, answer.KernelVersion, answer.MemTotal, answer.NCPU, answer.OperatingSystem]
  return {
    engineId: answer.ID,
    name: answer.Name,
    architecture: normaliseArchitecture(answer.Architecture),
    os: answer.OSType,
    cpus: answer.NCPU,
    memoryBytes: answer.MemTotal,
    engineVersion: answer.ServerVersion,
    apiVersion: version.apiVersion,
    machineId: createHash('sha256').update(JSON.stringify(machine)).digest('hex').slice(0, 32),
    liveRestore: answer.LiveRestoreEnabled ?? false,
  }
}

/** The kernel's name of a processor as OCI images spell it. */
function normaliseArchitecture(name: string): string {
  if (name === 'x86_64') return 'amd64'
  if (name === 'aarch64') return 'arm64'
  return name
}

/** One sample, taken at once. Memory without the page cache that the kernel may drop. */
export async function usage(engine: EngineConnection, id: string): Promise<ContainerUsage> {
  const what = `measure container ${id.slice(0, 12)}`
  const path = `/containers/${encodeURIComponent(id)}/stats`
  const query = { stream: 'false', 'one-shot': 'true' }
  const { body } = await engine.read({ what, method: 'GET', path, query, limitMs: engine.limits.readMs })
  const answer = readAnswer(statsAnswer, body, what)
  const cache =
    answer.memory_stats.stats?.total_inactive_file ?? answer.memory_stats.stats?.inactive_file ?? 0
  return {
    at: Date.parse(answer.read),
    cpuNanos: answer.cpu_stats.cpu_usage.total_usage,
    memoryBytes: Math.max(0, (answer.memory_stats.usage ?? 0) - cache),
    pids: answer.pids_stats?.current ?? 0,
  }
}
