import type { Socket } from 'node:net'
import { errorCatalogue, problemMessage } from '@berth/contracts'
import type { AccessLine } from '../../exchange/access-line.ts'
import { newRequestId } from '../../exchange/asker.ts'
import type { Refused } from '../../exchange/request-check.ts'
import type { EdgeLimits } from '../../limits.ts'
import type { ParserError } from './node-parser.ts'

/** Why a client is refused whose bytes the parser gave up on; `packet` is what it was reading. */
export function refusalOf({ code }: ParserError, packet: Buffer, limits: EdgeLimits): Refused {
  const { maxHeaderBytes, maxUriBytes } = limits
  if (code !== 'HPE_HEADER_OVERFLOW') return refused('malformed-request', 'The request cannot be understood.')
  return isLongTarget(packet, maxUriBytes)
    ? refused('uri-too-long', `The request target is longer than ${maxUriBytes} bytes.`)
    : refused('headers-too-large', `The request header is longer than ${maxHeaderBytes} bytes.`)
}

export function headTooSlow(seconds: number): Refused {
  return refused('request-incomplete', `The request header did not arrive within ${seconds} s.`)
}

export function bodyTooSlow(minBodyRate: number): Refused {
  return refused('request-incomplete', `The body came slower than ${minBodyRate} bytes per second.`)
}

export const endedEarly = refused('malformed-request', 'The request cannot be understood.')

/** Refuses on the bare socket what never became a request. Returns its access line. */
export function refuseUnparsed(socket: Socket, { code, detail }: Refused): AccessLine {
  const requestId = newRequestId()
  socket.write(problemMessage(code, detail, requestId, { 'x-request-id': requestId }))
  return {
    outcome: 'refused',
    requestId,
    method: '',
    host: '',
    path: '',
    status: errorCatalogue[code].status,
    ms: 0,
    queuedMs: 0,
    bytes: 0,
    retries: 0,
    code,
  }
}

function isLongTarget(packet: Buffer, maxUriBytes: number): boolean {
  return packet.length > maxUriBytes && !packet.subarray(0, maxUriBytes).includes(0x0a)
}

function refused(code: Refused['code'], detail: string): Refused {
  return { kind: 'refused', code, detail }
}
