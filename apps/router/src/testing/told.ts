import type { Duplex } from 'node:stream'
import type { Upstream, UpstreamCall, UpstreamFailure, UpstreamRequest } from '../upstream/upstream.ts'

/** What a listener was told of one request, in the end. */
export type Told = {
  status?: number
  headers?: string[]
  body: string
  trailers?: readonly string[]
  end: 'open' | 'complete' | 'upgraded' | UpstreamFailure['kind']
  written?: boolean
  received?: boolean
}

export type Sent = {
  call: UpstreamCall
  told: Told
  /** Resolves with `told` when nothing more is said. */
  over: Promise<Told>
  socket: Promise<Duplex>
}

/** Sends `request` and notes what is said; `data` decides whether more is wanted at once. */
export function send(
  upstream: Upstream,
  request: Partial<UpstreamRequest> = {},
  data: (chunk: Buffer, call: () => UpstreamCall) => boolean = () => true,
): Sent {
  const told: Told = { body: '', end: 'open' }
  const over = Promise.withResolvers<Told>()
  const socket = Promise.withResolvers<Duplex>()
  const end = (how: Partial<Told>) => {
    if (told.end !== 'open') throw new Error(`told of ${how.end} after ${told.end}`)
    over.resolve(Object.assign(told, how))
  }
  const call = upstream.send(
    { method: 'GET', path: '/', headers: ['Host', 'a'], body: null, upgrade: false, ...request },
    {
      head: (status, _text, headers) => void Object.assign(told, { status, headers }),
      data(chunk) {
        if (told.body.length < 1024 * 1024) told.body += chunk.toString('latin1')
        return data(chunk, () => call)
      },
      end: (trailers) => end({ end: 'complete', trailers }),
      upgraded(headers, switched) {
        end({ end: 'upgraded', headers })
        socket.resolve(switched)
      },
      failed: ({ kind, written, received }) => end({ end: kind, written, received }),
    },
  )
  return { call, told, over: over.promise, socket: socket.promise }
}
