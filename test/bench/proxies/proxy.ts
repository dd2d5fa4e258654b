import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { connect } from 'node:net'
import { startTestChild, type TestChild } from '../../support/child.ts'
import { freePorts } from '../../support/free-ports.ts'
import { until } from '../../support/poll.ts'
import { proxyCore } from '../machine.ts'

/** Something that is put between the clients and the app of a benchmark. */
export type Proxy = {
  name: string
  /** Of what is not our own. */
  version?: () => string
  /** What it takes to have it on this machine, in words for whoever runs the benchmark; undefined when it is there. */
  missing?: () => string | undefined
  /** What it has no way to do. */
  lacks?: readonly ('websocket' | 'h2c')[]
  start(place: ProxyPlace): Promise<RunningProxy>
}

export type RunningProxy = {
  name: string
  /** On 127.0.0.1. */
  port: number
  /** All of its processes: what they use is what the proxy costs. */
  pids: readonly number[]
  stop(): Promise<void>
}

export type ProxyPlace = {
  /** For configuration and other files. */
  folder: string
  /** Of the app's replicas on 127.0.0.1. */
  replicaPorts: readonly number[]
  /** Requests at once per replica, where a proxy can limit them. */
  concurrency: number
  /** Of clients and of the app; h2c is HTTP/2 without TLS from the first byte on. */
  protocol: 'http1' | 'h2c'
}

/** The host name that every request asks for. */
export const host = 'hello.localhost'

/** More than what any part of a benchmark opens to one proxy. */
export const maxClients = 12_000

/** A port for a proxy, free a moment ago. */
export async function freePort(): Promise<number> {
  return (await freePorts()).edge
}

type Program = {
  name: string
  port: number
  command: readonly string[]
  folder: string
  env?: NodeJS.ProcessEnv
}

/** Starts a program of one process on the proxies' core, and waits until it accepts. */
export async function startProcess({ name, port, command, folder, env }: Program): Promise<RunningProxy> {
  const child = startTestChild(['taskset', '-c', proxyCore, ...command], {
    cwd: folder,
    ...(env === undefined ? {} : { env }),
  })
  const { pid } = child.process
  try {
    await until(async () => hasEnded(child) || (await accepts(port)), { describe: 'a connection' })
    if (hasEnded(child) || pid === undefined) throw new Error('it has ended')
  } catch (error) {
    await child.stop('SIGKILL')
    throw new Error(`${name} does not accept: ${child.output()}`, { cause: error })
  }
  return { name, port, pids: [pid], stop: () => child.stop('SIGKILL') }
}

function hasEnded({ process: { exitCode, signalCode } }: TestChild): boolean {
  return exitCode !== null || signalCode !== null
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('error', () => resolve(false))
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
  })
}

/** For a program of a Debian package: what to type when it is not there. */
export function missingProgram(path: string, debianPackage: string): () => string | undefined {
  return () => (existsSync(path) ? undefined : `apt-get install --no-install-recommends ${debianPackage}`)
}

/** The first number with dots of what a program says about itself; nginx says it on standard error. */
export function versionOf(path: string, argument: string): string {
  const { stdout, stderr } = spawnSync(path, [argument], { encoding: 'utf8' })
  return /\d+(\.\d+)+/.exec(`${stdout}${stderr}`)?.[0] ?? ''
}

/** Those that can be run on this machine; prints versions, and what to type for what is missing. */
export function present(wanted: readonly Proxy[]): Proxy[] {
  return wanted.filter((proxy) => {
    const remedy = proxy.missing?.()
    if (remedy !== undefined) console.log(`${proxy.name} is left out, it is not here: ${remedy}`)
    else if (proxy.version) console.log(`${proxy.name} ${proxy.version()}`)
    return remedy === undefined
  })
}
