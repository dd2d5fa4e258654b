import type { ReplicaRoute } from '@berth/contracts'
import { Pool, type Dispatcher } from 'undici'
import type { Upstream, UpstreamFailure, UpstreamListener, UpstreamRequest } from './upstream.ts'

/** Below the 5 s after which a Node app closes an idle connection, so that we are first to close it. */
const keepAliveTimeoutMs = 4000
const connectTimeoutMs = 2000
const maxUnlimitedConnections = 1024
const maxInformationalHeads = 16
const maxUpstreamHeaderBytes = 32 * 1024

/** Connections to one replica, at most as many as it may have requests. */
export function openReplicaPool(route: ReplicaRoute, concurrency: number): Upstream {
  const host = route.address.includes(':') ? `[${route.address}]` : route.address
  const pool = new Pool(`http://${host}:${route.port}`, {
    connections: concurrency === 0 ? maxUnlimitedConnections : concurrency,
    pipelining: 1,
    allowH2: false,
    keepAliveTimeout: keepAliveTimeoutMs,
    keepAliveMaxTimeout: keepAliveTimeoutMs,
    headersTimeout: 0,
    bodyTimeout: 0,
    maxHeaderSize: maxUpstreamHeaderBytes,
    connect: { timeout: connectTimeoutMs },
  })
  return {
    send: (request, listener) => dispatch(pool, request, listener),
    close: () => pool.destroy(),
  }
}

function dispatch(pool: Pool, request: UpstreamRequest, listener: UpstreamListener) {
  let controller: Dispatcher.DispatchController | undefined
  let over = false
  let written = false
  let informational = 0

  function fail(failure: UpstreamFailure): void {
    if (over) return
    over = true
    listener.failed(failure)
  }

  const handler: Dispatcher.DispatchHandler = {
    onRequestStart(started) {
      controller = started
      if (over) started.abort(new Error('given up before it was sent'))
      else written = true
    },
    onRequestUpgrade(started, status, _headers, socket) {
      if (over || status !== 101) {
        socket.destroy()
        fail({ kind: 'protocol', written, message: `upgrade was answered ${status}` })
        return
      }
      over = true
      listener.upgraded(flatHeaders(started.rawHeaders), socket)
    },
    onResponseStart(started, status, _headers, statusText) {
      if (over) return
      if (status < 200) {
        informational += 1
        if (informational > maxInformationalHeads) started.abort(new Error('too many informational answers'))
        return
      }
      listener.head(status, statusText ?? '', flatHeaders(started.rawHeaders))
    },
    onResponseData(started, chunk) {
      if (!over && !listener.data(chunk)) started.pause()
    },
    onResponseEnd() {
      if (over) return
      over = true
      listener.end()
    },
    onResponseError(_started, error) {
      fail({ kind: failureKind(error, written), written, message: error.message })
    },
  }

  try {
    pool.dispatch(
      {
        method: request.method,
        path: request.path,
        headers: [...request.headers],
        body: request.body,
        upgrade: request.upgrade ? 'websocket' : null,
      },
      handler,
    )
  } catch (error) {
    fail({ kind: 'connect', written: false, message: String(error) })
  }

  return {
    resume: () => controller?.resume(),
    abort() {
      if (over) return
      over = true
      controller?.abort(new Error('given up'))
    },
  }
}

function failureKind(error: Error, written: boolean): UpstreamFailure['kind'] {
  if (!written) return 'connect'
  const code = (error as NodeJS.ErrnoException).code ?? ''
  return code.startsWith('HPE_') || protocolErrors.has(code) ? 'protocol' : 'died'
}

const protocolErrors = new Set([
  'UND_ERR_HEADERS_OVERFLOW',
  'UND_ERR_RES_CONTENT_LENGTH_MISMATCH',
  'UND_ERR_INVALID_ARG',
])

function flatHeaders(raw: Dispatcher.DispatchController['rawHeaders']): string[] {
  if (!Array.isArray(raw)) return []
  return raw.map((part) => (typeof part === 'string' ? part : part.toString('latin1')))
}
