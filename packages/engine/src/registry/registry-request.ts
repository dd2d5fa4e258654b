import { type IncomingMessage, request as httpRequest } from 'node:http'
import { request as httpsRequest } from 'node:https'
import type { LookupFunction } from 'node:net'
import { addAbortSignal } from 'node:stream'
import { type Deadline, startDeadline } from '../deadline.ts'
import { EngineError } from '../engine-error.ts'
import { pinnedLookup, publicAddresses, refusedHost, systemResolve } from './address-guard.ts'
import { isOpened, type RegistryAccess } from './registry-access.ts'

const requestLimitMs = 10_000
const maxRedirects = 5

export type RegistryRequest = {
  url: URL
  method: 'GET' | 'HEAD' | 'POST'
  headers?: Record<string, string>
  body?: string
  signal?: AbortSignal
  /** 10 s for the whole answer unless told otherwise. */
  limitMs?: number
}

/** An answer whose body is still to be read; dispose the deadline afterwards. */
export type RegistryAnswer = {
  status: number
  headers: IncomingMessage['headers']
  body: IncomingMessage
  deadline: Deadline
}

/**
 * One request to a registry, its realm or its storage. Redirects are followed by GET and HEAD only, each host is
 * checked anew, and the login does not go along to another host.
 */
export async function askRegistry(access: RegistryAccess, request: RegistryRequest): Promise<RegistryAnswer> {
  const deadline = startDeadline(request.limitMs ?? requestLimitMs, request.signal)
  try {
    let { url, headers = {} } = request
    for (let hops = 0; hops <= maxRedirects; hops += 1) {
      const body = await send(access, { ...request, url, headers }, deadline)
      const status = body.statusCode ?? 0
      const location = body.headers.location
      if (status < 300 || status > 399 || location === undefined || request.method === 'POST')
        return { status, headers: body.headers, body, deadline }
      body.destroy()
      const next = new URL(location, url)
      if (next.host !== url.host) headers = withoutLogin(headers)
      url = next
    }
    throw new EngineError('RegistryUnreachable', 'the registry redirects in circles')
  } catch (error) {
    const failure = registryFailure(error, deadline)
    deadline[Symbol.dispose]()
    throw failure
  }
}

/** Reads a whole answer of at most `maxBytes`. */
export async function readAnswerBytes(answer: RegistryAnswer, maxBytes: number): Promise<Buffer> {
  using deadline = answer.deadline
  const chunks: Buffer[] = []
  let size = 0
  try {
    for await (const chunk of answer.body as AsyncIterable<Buffer>) {
      size += chunk.length
      if (size > maxBytes)
        throw new EngineError('ImageCorrupt', `the registry's answer is larger than ${maxBytes} bytes`)
      chunks.push(chunk)
    }
    return Buffer.concat(chunks)
  } catch (error) {
    throw registryFailure(error, deadline)
  }
}

/** Ends an answer whose body does not matter. */
export function discard(answer: RegistryAnswer): void {
  answer.body.destroy()
  answer.deadline[Symbol.dispose]()
}

/** What broke, without the addresses and texts of the other side. */
export function registryFailure(error: unknown, deadline: Deadline): EngineError {
  if (error instanceof EngineError) return error
  if (deadline.reason === 'timeout')
    return new EngineError('RegistryUnreachable', 'the registry did not answer in time')
  if (deadline.reason === 'aborted') return new EngineError('Aborted', 'aborted')
  const { code } = error as NodeJS.ErrnoException
  return new EngineError(
    'RegistryUnreachable',
    `the registry does not answer: ${code ?? 'connection broken'}`,
  )
}

async function send(
  access: RegistryAccess,
  request: RegistryRequest,
  deadline: Deadline,
): Promise<IncomingMessage> {
  const { url, method, headers = {}, body } = request
  const pinned = isOpened(access, url) ? {} : { lookup: await lookupForeign(access, url, deadline.signal) }
  const options = {
    method,
    headers: { 'user-agent': 'berth', ...headers },
    signal: deadline.signal,
    // No pooling: the address is checked when a connection is made.
    agent: false,
    ...pinned,
  } as const
  return await new Promise((resolve, reject) => {
    const start = url.protocol === 'https:' ? httpsRequest : httpRequest
    const outgoing = start(url, options, (incoming) => {
      incoming.on('error', () => undefined) // whoever reads it sees the error too
      addAbortSignal(deadline.signal, incoming)
      resolve(incoming)
    })
    outgoing.on('error', reject)
    outgoing.end(body)
  })
}

/** Hosts that nobody has opened are spoken to by https only, with no login in the URL. */
async function lookupForeign(access: RegistryAccess, url: URL, signal: AbortSignal): Promise<LookupFunction> {
  if (url.protocol !== 'https:' || url.username !== '' || url.password !== '') throw refusedHost()
  const ended = Promise.withResolvers<never>()
  const end = () => ended.reject(new Error('ended'))
  signal.addEventListener('abort', end, { once: true })
  try {
    const found = publicAddresses(url.hostname, access.resolve ?? systemResolve)
    return pinnedLookup(await Promise.race([found, ended.promise]))
  } finally {
    signal.removeEventListener('abort', end)
  }
}

function withoutLogin(headers: Record<string, string>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).filter(([name]) => name.toLowerCase() !== 'authorization'),
  )
}
