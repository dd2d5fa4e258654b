import { Agent as HttpAgent, type IncomingMessage } from 'node:http'
import { Agent as HttpsAgent } from 'node:https'
import { addAbortSignal, type Readable } from 'node:stream'
import Docker from 'dockerode'
import type { EngineEndpoint, EngineVersion, Fence } from './container-runtime.ts'
import { limitConnecting } from './connect-limit.ts'
import { type Deadline, startDeadline } from './deadline.ts'
import { describeEndpoint } from './endpoint.ts'
import { EngineError } from './engine-error.ts'
import { type Call, connectionFailure, statusFailure } from './engine-failure.ts'
import { type EngineLimits, engineLimits } from './engine-limits.ts'
import { quieten } from './quiet-modem.ts'

const oldestApi = '1.41'
const newestApi = '1.47'
const maxAnswerBytes = 64 * 1024 * 1024

export type EngineRequest = {
  /** For error texts: `pause container abc`. */
  what: string
  method: 'GET' | 'HEAD' | 'POST' | 'DELETE' | 'PUT'
  path: string
  query?: Record<string, string | number>
  body?: object
  /** Sent as it is, as a tar. */
  upload?: Readable | Buffer
  headers?: Record<string, string>
  /** Values that must not appear in an error text. */
  secrets?: readonly string[]
  limitMs: number
  /** The limit is on the head of the answer; what follows may go on for ever. */
  endless?: boolean
  /** Given the deadline before anything is sent, for uploads that show progress of their own. */
  onDeadline?: (deadline: Deadline) => void
  signal?: AbortSignal
  /** Statuses from 300 up which are answers too. */
  accept?: readonly number[]
}

export type EngineAnswer = { status: number; body: unknown }

/** An open answer: read `body` to its end or destroy it, then dispose the deadline. */
export type EngineStream = { status: number; body: IncomingMessage; deadline: Deadline }

/**
 * HTTP to one engine, through dockerode's modem. Its own helpers have no deadlines, take a broken answer for no
 * answer and a failed pull for a finished one, so only its dialling is used.
 */
export class EngineConnection {
  readonly endpoint: EngineEndpoint
  readonly limits: EngineLimits
  readonly #modem: Modem
  readonly #agent: HttpAgent
  #apiVersion: string | undefined

  constructor(endpoint: EngineEndpoint, limits: Partial<EngineLimits> = {}) {
    this.endpoint = endpoint
    this.limits = { ...engineLimits, ...limits }
    const tls = endpoint.kind === 'tcp' ? endpoint.tls : undefined
    this.#agent = tls ? new HttpsAgent({ keepAlive: true, ...tls }) : new HttpAgent({ keepAlive: true })
    limitConnecting(this.#agent, this.limits.connectMs)
    const options = { ...dialOptions(endpoint), agent: this.#agent }
    this.#modem = quieten(new Docker(options).modem as unknown as Modem)
  }

  /** Asks who is there, and settles the API version to speak: min(the engine's, our newest). */
  async ping(): Promise<EngineVersion> {
    const request = { what: 'ping', method: 'GET', path: '/_ping', limitMs: this.limits.pingMs } as const
    const answer = await this.#open(request, '', false)
    using _deadline = answer.deadline
    answer.body.resume()
    const offered = String(answer.body.headers['api-version'] ?? '')
    if (answer.status !== 200 || !/^\d+\.\d+$/.test(offered))
      throw new EngineError('EngineFailure', `${describeEndpoint(this.endpoint)} does not answer like Docker`)
    if (compareApi(offered, oldestApi) < 0)
      throw new EngineError(
        'EngineTooOld',
        `the engine speaks API ${offered}, Berth needs ${oldestApi} (Docker 20.10) or newer`,
      )
    this.#apiVersion = compareApi(offered, newestApi) < 0 ? offered : newestApi
    const engineVersion = /Docker\/(\S+)/.exec(String(answer.body.headers.server ?? ''))?.[1] ?? 'unknown'
    return { apiVersion: this.#apiVersion, engineVersion }
  }

  /** A request that changes nothing. Tried once more when a kept connection turns out to be dead. */
  async read(request: EngineRequest): Promise<EngineAnswer> {
    const prefix = await this.#prefix()
    try {
      return await this.#exchange(request, prefix, false)
    } catch (error) {
      if (!isDeadConnection(error)) throw error
      return await this.#exchange(request, prefix, false)
    }
  }

  /**
   * The one choke point for what changes an engine: the fence is checked, and the request goes out, at the latest
   * `connectMs` afterwards.
   */
  async mutate(fence: Fence, request: EngineRequest): Promise<EngineAnswer> {
    const prefix = await this.#prefix()
    fence.check()
    return await this.#exchange(request, prefix, true)
  }

  /** As `mutate`, for answers that are read while they come. */
  async mutateStream(fence: Fence, request: EngineRequest): Promise<EngineStream> {
    const prefix = await this.#prefix()
    fence.check()
    return await this.#open(request, prefix, true)
  }

  async readStream(request: EngineRequest): Promise<EngineStream> {
    return await this.#open(request, await this.#prefix(), false)
  }

  close(): void {
    this.#agent.destroy()
  }

  async #prefix(): Promise<string> {
    if (this.#apiVersion === undefined) await this.ping()
    return `/v${this.#apiVersion}`
  }

  async #exchange(request: EngineRequest, prefix: string, mutates: boolean): Promise<EngineAnswer> {
    const { status, body, deadline } = await this.#open(request, prefix, mutates)
    using _deadline = deadline
    try {
      return { status, body: parseAnswer(await readText(body)) }
    } catch (error) {
      throw connectionFailure({ what: request.what, mutates }, error, deadline)
    }
  }

  /** Sends the request; settles when the head of the answer is there and is not a failure. */
  async #open(request: EngineRequest, prefix: string, mutates: boolean): Promise<EngineStream> {
    const call: Call = { what: request.what, mutates }
    const deadline = startDeadline(request.limitMs, request.signal)
    request.onDeadline?.(deadline)
    try {
      const body = await this.#dial(request, prefix, deadline)
      body.on('error', () => undefined) // whoever reads it sees the error too
      addAbortSignal(deadline.signal, body)
      if (request.endless) deadline.lift()
      const status = body.statusCode ?? 0
      if (status < 300 || request.accept?.includes(status)) return { status, body, deadline }
      throw statusFailure(call, status, await readText(body), request.secrets ?? [])
    } catch (error) {
      const failure = connectionFailure(call, error, deadline)
      deadline[Symbol.dispose]()
      throw failure
    }
  }

  #dial(request: EngineRequest, prefix: string, deadline: Deadline): Promise<IncomingMessage> {
    const query = request.query ?? {}
    const marked = Object.keys(query).length > 0 ? '?' : ''
    return new Promise((resolve, reject) => {
      deadline.signal.addEventListener('abort', () => reject(new Error('ended')), { once: true })
      if (deadline.signal.aborted) return reject(new Error('ended'))
      this.#modem.dial(
        {
          path: `${prefix}${request.path}${marked}`,
          method: request.method,
          options: { _query: query, _body: request.body ?? {} },
          statusCodes: everyStatus,
          isStream: true,
          abortSignal: deadline.signal,
          ...(request.headers === undefined ? {} : { headers: { ...request.headers } }),
          ...(request.upload === undefined ? {} : { file: request.upload }),
        },
        (error, body) => (error ? reject(error) : resolve(body as IncomingMessage)),
      )
    })
  }
}

/** What of docker-modem is used; dockerode's types leave it untyped. */
type Modem = {
  dial(options: Record<string, unknown>, callback: (error: Error | null, body: unknown) => void): void
}

/** The modem reports every answer as it is; the statuses are judged here. */
const everyStatus = Object.fromEntries(Array.from({ length: 500 }, (_, at) => [at + 100, true]))

/** `host: undefined` keeps a DOCKER_HOST of the environment out. */
function dialOptions(endpoint: EngineEndpoint) {
  if (endpoint.kind === 'unix')
    return { host: undefined, protocol: 'http', socketPath: endpoint.path } as const
  const { host, port, tls } = endpoint
  const literal = host.includes(':') ? `[${host}]` : host
  return { protocol: tls ? 'https' : 'http', host: literal, port, ...tls } as const
}

/** Negative when `a` is the older API version. */
function compareApi(a: string, b: string): number {
  const [aMajor = 0, aMinor = 0] = a.split('.').map(Number)
  const [bMajor = 0, bMinor = 0] = b.split('.').map(Number)
  return aMajor - bMajor || aMinor - bMinor
}

function isDeadConnection(error: unknown): boolean {
  return (
    error instanceof EngineError &&
    error.code === 'EngineUnreachable' &&
    /ECONNRESET|EPIPE/.test(error.message)
  )
}

async function readText(body: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of body as AsyncIterable<Buffer>) {
    chunks.push(chunk)
    size += chunk.length
    if (size > maxAnswerBytes) throw new EngineError('EngineFailure', 'the answer of the engine is too large')
  }
  return Buffer.concat(chunks).toString('utf8')
}

function parseAnswer(text: string): unknown {
  if (text === '') return undefined
  try {
    return JSON.parse(text)
  } catch {
    throw new EngineError('EngineFailure', 'the engine answered with something that is not JSON')
  }
}
