import type { ReplicaRoute } from '@berth/contracts'
import { buildConnector, Pool, type Dispatcher } from 'undici'
import { acceptsConnection } from '../accepts-connection.ts'
import { failureKind } from './failure-kind.ts'
import type { Upstream, UpstreamFailure, UpstreamListener, UpstreamRequest } from '../upstream.ts'

/** Below the 5 s after which a Node app closes an idle connection, so that we are first to close it. */
const keepAliveTimeoutMs = 4000
const connectTimeoutMs = 2000
const maxUnlimitedConnections = 1024
const maxInformationalHeads = 16
const maxUpstreamHeaderBytes = 32 * 1024

/**
 * The reference mode: undici's connections to one replica, at most as many as it may have requests. An address that cannot be asked gives a
 * replica that fails every request, so that one bad row in the table spoils nothing else.
 */
export function openUndiciPool(route: ReplicaRoute, concurrency: number): Upstream {
  const host = route.address.includes(':') ? `[${route.address}]` : route.address
  const origin = `http://${host}:${route.port}`
  if (!URL.canParse(origin)) return unreachable(origin)
  const pool = new Pool(origin, {
    connections: concurrency === 0 ? maxUnlimitedConnections : concurrency,
    pipelining: 1,
    allowH2: false,
    keepAliveTimeout: keepAliveTimeoutMs,
    keepAliveMaxTimeout: keepAliveTimeoutMs,
    headersTimeout: 0,
    bodyTimeout: 0,
    maxHeaderSize: maxUpstreamHeaderBytes,
    connect: connectToReplica,
  })
  return {
    send: (request, listener) => dispatch(pool, request, listener),
    answers: () => acceptsConnection(route, connectTimeoutMs),
    close: () => pool.destroy(),
  }
}

function unreachable(origin: string): Upstream {
  return {
    send(_request, listener) {
      listener.failed({ kind: 'connect', written: false, received: false, message: `no URL: ${origin}` })
      return { resume: () => undefined, abort: () => undefined, breakOff: () => undefined }
    },
    answers: () => Promise.resolve(false),
    close: () => Promise.resolve(),
  }
}

const connectTcp = buildConnector({ timeout: connectTimeoutMs })

/** undici takes a reset for the clean end of an answer that has no length. With its own code it is a failure. */
const connectToReplica: buildConnector.connector = (options, callback) =>
  connectTcp(options, (...result) => {
    result[1]?.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNRESET') error.code = 'UND_ERR_SOCKET'
    })
    callback(...result)
  })

function dispatch(pool: Pool, request: UpstreamRequest, listener: UpstreamListener) {
  let controller: Dispatcher.DispatchController | undefined
  let over = false
  let written = false
  let received = false
  let informational = 0

  function fail(kind: UpstreamFailure['kind'], message: string): void {
    if (over) return
    over = true
    listener.failed({ kind, written, received, message })
  }

  const handler: Dispatcher.DispatchHandler = {
    onRequestStart(started) {
      controller = started
      if (over) started.abort(new Error('given up before it was sent'))
      else written = true
    },
    // The first byte of an answer, be it the start of a head that never ends or of a 1xx.
    onResponseStarted() {
      received = true
    },
    onRequestUpgrade(started, status, _headers, socket) {
      if (over || status !== 101) {
        socket.destroy()
        fail('protocol', `upgrade was answered ${status}`)
        return
      }
      over = true
      listener.upgraded(flat(started.rawHeaders), socket)
    },
    onResponseStart(started, status, _headers, statusText) {
      if (over) return
      if (status < 200) {
        informational += 1
        if (informational <= maxInformationalHeads) return
        fail('protocol', 'too many informational answers')
        started.abort(new Error('given up'))
        return
      }
      listener.head(status, statusText ?? '', flat(started.rawHeaders))
    },
    onResponseData(started, chunk) {
      if (!over && !listener.data(chunk)) started.pause()
    },
    onResponseEnd(ended) {
      if (over) return
      over = true
      listener.end(flat(ended.rawTrailers))
    },
    onResponseError(_started, error) {
      fail(failureKind(error, written), error.message)
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
    fail('connect', String(error))
  }

  return {
    resume: () => controller?.resume(),
    abort() {
      if (over) return
      over = true
      controller?.abort(new Error('given up'))
    },
    breakOff(why: string) {
      if (over) return
      fail('died', why)
      controller?.abort(new Error(why))
    },
  }
}

function flat(raw: Dispatcher.DispatchController['rawTrailers']): string[] {
  if (!Array.isArray(raw)) return []
  return raw.map((part) => (typeof part === 'string' ? part : part.toString('latin1')))
}
