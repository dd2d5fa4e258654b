import { headerValue } from '../../exchange/headers.ts'
import type { RequestHead } from '../downstream.ts'

/**
 * A request that may become a WebSocket. Anything else that asks for another protocol, or has a body, stays plain
 * HTTP/1.1: its Upgrade header is dropped.
 */
export function asksForWebSocket({ method, rawHeaders }: RequestHead): boolean {
  if (method !== 'GET') return false
  if (headerValue(rawHeaders, 'transfer-encoding') !== undefined) return false
  if (Number(headerValue(rawHeaders, 'content-length') ?? 0) !== 0) return false
  return headerValue(rawHeaders, 'upgrade')?.toLowerCase() === 'websocket'
}

/** The client sends its body when it is told to (RFC 9110, 10.1.1); one of HTTP/1.0 cannot be told. */
export function expectsContinue({ httpVersion, rawHeaders }: RequestHead): boolean {
  return httpVersion === '1.1' && headerValue(rawHeaders, 'expect')?.toLowerCase() === '100-continue'
}
