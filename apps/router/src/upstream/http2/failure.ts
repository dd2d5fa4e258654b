import { constants } from 'node:http2'
import type { UpstreamFailure } from '../upstream.ts'

/** What is known of a stream that ended without the end of an answer. */
export type StreamEnd = {
  /** Its head was given to a connection. */
  wasSent: boolean
  received: boolean
  /** With which it was reset, by either side. */
  code: number
  /** The replica has said of it, with the end of the connection, that it was never looked at. */
  wasPassedOver: boolean
  /** What ended the connection; undefined while it lives. */
  sessionEnd: { kind: UpstreamFailure['kind']; message: string } | undefined
}

/** Codes with which nghttp2 resets a stream whose frames it cannot accept. */
const protocolCodes = new Set<number>([
  constants.NGHTTP2_PROTOCOL_ERROR,
  constants.NGHTTP2_FLOW_CONTROL_ERROR,
  constants.NGHTTP2_STREAM_CLOSED,
  constants.NGHTTP2_FRAME_SIZE_ERROR,
  constants.NGHTTP2_COMPRESSION_ERROR,
  constants.NGHTTP2_ENHANCE_YOUR_CALM,
])

/** RFC 9113, 8.7: what was refused or passed over was not processed, so it counts as never written. */
export function streamFailure(end: StreamEnd): UpstreamFailure {
  const { received, sessionEnd } = end
  if (!end.wasSent) {
    const { kind, message } = sessionEnd ?? { kind: 'connect', message: 'never sent' }
    return { kind: kind === 'died' ? 'connect' : kind, written: false, received, message }
  }
  const wasRefused = !received && (end.wasPassedOver || end.code === constants.NGHTTP2_REFUSED_STREAM)
  if (wasRefused)
    return { kind: 'refused', written: false, received, message: 'the replica refused the stream' }
  if (sessionEnd) return { ...sessionEnd, written: true, received }
  const message = `the stream was reset with code ${end.code}`
  return { kind: protocolCodes.has(end.code) ? 'protocol' : 'refused', written: true, received, message }
}
