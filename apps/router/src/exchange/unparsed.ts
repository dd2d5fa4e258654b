import type { Socket } from 'node:net'
import { errorCatalogue, problemMessage } from '@berth/contracts'
import type { AccessLine } from './access-line.ts'
import { newRequestId } from './asker.ts'
import { maxUriBytes, type Refused } from './request-check.ts'

/** What Node's parser, or the socket below it, gave up with. */
export type ParserError = NodeJS.ErrnoException & { rawPacket?: Buffer }

/** Why the client is refused; undefined when nothing can be said any more, since the connection itself broke. */
export function refusalOf(error: ParserError): Refused | undefined {
  const { code = '' } = error
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT')
    return refused('request-incomplete', 'The request header did not arrive within 10 s.')
  if (code === 'HPE_HEADER_OVERFLOW')
    return isLongTarget(error.rawPacket)
      ? refused('uri-too-long', 'The request target is longer than 8 KiB.')
      : refused('headers-too-large', 'The request header is longer than 16 KiB.')
  if (!code.startsWith('HPE_')) return undefined
  return refused('malformed-request', 'The request cannot be understood.')
}

/** Refuses on the bare socket what never became a request, and closes it. Returns its access line. */
export function refuseUnparsed(socket: Socket, { code, detail }: Refused): AccessLine {
  const requestId = newRequestId()
  const message = problemMessage(code, detail, requestId, { 'x-request-id': requestId })
  socket.end(message, () => socket.destroy())
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

function isLongTarget(packet: Buffer | undefined): boolean {
  return (
    packet !== undefined && packet.length > maxUriBytes && !packet.subarray(0, maxUriBytes).includes(0x0a)
  )
}

function refused(code: Refused['code'], detail: string): Refused {
  return { kind: 'refused', code, detail }
}
