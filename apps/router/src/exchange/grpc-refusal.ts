import { headerValue } from './headers.ts'

/*
 * What the router says itself to a caller of gRPC, who looks at no other status than that of gRPC: a head that ends the
 * answer, with HTTP status 200 ("Trailers-Only" in the protocol of gRPC over HTTP/2).
 */

const unknown = 2
/**
 * By HTTP status, as gRPC maps it for whoever gets none of its own ("HTTP to gRPC Status Code Mapping"); 413, 500 and
 * 504 are not in there. 429 is UNAVAILABLE as in the mapping, and not RESOURCE_EXHAUSTED: nothing has reached an app, and
 * UNAVAILABLE is what clients try again.
 */
const statusByHttp = new Map([
  [400, 13],
  [401, 16],
  [403, 7],
  [404, 12],
  [413, 8],
  [429, 14],
  [500, 13],
  [502, 14],
  [503, 14],
  [504, 4],
])

/** Whether a request, with its headers flat, is a call of gRPC. */
export function isGrpc(headers: readonly string[]): boolean {
  return headerValue(headers, 'content-type')?.toLowerCase().startsWith('application/grpc') ?? false
}

/** The headers of the refusal, flat, for what would be `httpStatus` otherwise. */
export function grpcRefusal(httpStatus: number, detail: string): string[] {
  const status = statusByHttp.get(httpStatus) ?? unknown
  return [
    'content-type',
    'application/grpc',
    'grpc-status',
    String(status),
    'grpc-message',
    percentEncoded(detail),
  ]
}

/** Of the UTF-8 bytes, all but the printable ones of ASCII are encoded, and the percent sign. */
function percentEncoded(text: string): string {
  return Array.from(Buffer.from(text), (byte) => {
    const isPlain = byte >= 0x20 && byte <= 0x7e && byte !== 0x25
    return isPlain ? String.fromCharCode(byte) : `%${byte.toString(16).padStart(2, '0').toUpperCase()}`
  }).join('')
}
