import { execFile } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { callHttp } from '../../infra/src/http-call.ts'
import { startTestChild, type TestChild } from './child.ts'
import { until } from './poll.ts'
import { note, type Slot } from './slot.ts'

const run = promisify(execFile)

/** How to reach one Docker Engine of a test run; JSON all through. */
export type EngineConnection = {
  /** Also the name of its node: "a", "b", "c". */
  name: string
  endpoint: string
  socketPath: string
  /** Where its replicas are published. */
  address: string
  /** True for the engine in a network namespace of its own, where the registry cannot be reached. */
  isolated: boolean
  pid: number
}

export type TestEngine = { connection: EngineConnection; stop(): Promise<void>; start(): Promise<void> }

const engineTimeoutMs = 90_000

/** Starts engines a, b, ... of a slot; the last one is isolated when `isolateLast` is set. */
export async function startEngines(
  slot: Slot,
  count: number,
  options: { isolateLast?: boolean } = {},
): Promise<TestEngine[]> {
  const engines: TestEngine[] = []
  // One after the other: dockerd loads kernel modules and probes the packet filter while it starts.
  for (let index = 0; index < count; index += 1) {
    const isolated = options.isolateLast === true && index === count - 1
    engines.push(await startEngine(slot, index, isolated))
  }
  return engines
}

/**
 * One engine with folders, bridge and addresses of its own. Only one engine per network namespace may manage
 * the packet filter, so those beside the machine's own run without; the userland proxy publishes their ports.
 */
async function startEngine(slot: Slot, index: number, isolated: boolean): Promise<TestEngine> {
  const name = String.fromCodePoint(97 + index)
  const folder = join(slot.folder, name)
  mkdirSync(folder, { recursive: true, mode: 0o711 })
  const configFile = join(folder, 'daemon.json')
  writeFileSync(configFile, JSON.stringify(await engineConfig(folder)))
  const socketPath = join(folder, 'docker.sock')
  const label = `berth-t${slot.number}${name}`
  const address = isolated ? await makeNamespace(slot, index, label) : slot.address(index)
  const enter = isolated ? ['nsenter', `--net=/run/netns/${label}`] : []
  if (!isolated) await makeBridge(slot, index, label)
  const network = isolated
    ? [`--bip=${slot.subnet(index)}.1/24`]
    : [`--bridge=${label}`, '--iptables=false', '--ip-masq=false']
  const command = [
    ...enter,
    'dockerd',
    `--config-file=${configFile}`,
    `--data-root=${folder}/data`,
    `--exec-root=${folder}/exec`,
    `--pidfile=${folder}/pid`,
    `--host=unix://${socketPath}`,
    '--log-level=warn',
    '--shutdown-timeout=3',
    ...(isolated ? [] : [`--host=tcp://${address}:2375`, '--tls=false']),
    ...network,
  ]
  let child: TestChild | undefined
  const connection: EngineConnection = {
    name,
    endpoint: `unix://${socketPath}`,
    socketPath,
    address,
    isolated,
    pid: 0,
  }
  const engine: TestEngine = {
    connection,
    async start() {
      await until(
        async () => {
          if (child === undefined || child.process.exitCode !== null || child.process.signalCode !== null)
            child = startTestChild(command, { cwd: '/' })
          connection.pid = child.process.pid ?? 0
          const { status } = await callHttp({ target: { socketPath }, path: '/_ping', timeoutMs: 5000 })
          return status === 200
        },
        { timeoutMs: engineTimeoutMs, intervalMs: 200, describe: `engine ${name}: ${child?.output() ?? ''}` },
      ).catch((error: unknown) => {
        throw new Error(`engine ${name} did not start: ${child?.output() ?? ''}`, { cause: error })
      })
    },
    async stop() {
      await child?.stop('SIGTERM', 30_000)
    },
  }
  await engine.start()
  return engine
}

/**
 * Engines before 24 take their id from a key that all of a machine share unless it is moved; Berth would refuse
 * the second one as the same engine. Newer ones keep an id in their data and do not know the setting.
 */
async function engineConfig(folder: string): Promise<Record<string, string>> {
  const { stdout } = await run('dockerd', ['--version'])
  const major = Number(/version (\d+)\./.exec(stdout)?.[1])
  return major < 24 ? { 'deprecated-key-path': join(folder, 'key.json') } : {}
}

async function makeBridge(slot: Slot, index: number, label: string): Promise<void> {
  note(slot, 'bridges', label)
  await run('ip', ['link', 'add', label, 'type', 'bridge'])
  await run('ip', ['address', 'add', `${slot.subnet(index)}.1/24`, 'dev', label])
  await run('ip', ['link', 'set', label, 'up'])
}

/** A namespace with one link to the machine; returns its address there. Loopback inside is its own. */
async function makeNamespace(slot: Slot, index: number, label: string): Promise<string> {
  note(slot, 'namespaces', label)
  note(slot, 'links', `${label}h`)
  const link = slot.subnet(7)
  await run('ip', ['netns', 'add', label])
  await run('ip', ['link', 'add', `${label}h`, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', label])
  await run('ip', ['address', 'add', `${link}.${index * 4 + 1}/30`, 'dev', `${label}h`])
  await run('ip', ['link', 'set', `${label}h`, 'up'])
  const inside = ['-n', label]
  await run('ip', [...inside, 'address', 'add', `${link}.${index * 4 + 2}/30`, 'dev', 'eth0'])
  await run('ip', [...inside, 'link', 'set', 'eth0', 'up'])
  await run('ip', [...inside, 'link', 'set', 'lo', 'up'])
  return `${link}.${index * 4 + 2}`
}
