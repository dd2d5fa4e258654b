/*
 * As much of gRPC as a health check needs: one message in a frame (no compression, four bytes of length), and of
 * protobuf one text or one number in field 1.
 */

/** ServingStatus of grpc.health.v1. */
const servingStatuses = ['UNKNOWN', 'SERVING', 'NOT_SERVING', 'SERVICE_UNKNOWN'] as const
export type ServingStatus = (typeof servingStatuses)[number]

const textInField1 = 0x0a
const numberInField1 = 0x08

/** The framed HealthCheckRequest that asks for a service; the empty name is the server as a whole. */
export function encodeHealthRequest(service: string): Buffer {
  const name = Buffer.from(service)
  const message =
    name.length === 0 ? name : Buffer.concat([Buffer.from([textInField1]), varint(name.length), name])
  const head = Buffer.alloc(5)
  head.writeUInt32BE(message.length, 1)
  return Buffer.concat([head, message])
}

/** What a framed HealthCheckResponse says; null when it is none. */
export function decodeHealthResponse(frame: Buffer): ServingStatus | null {
  if (frame.length < 5 || frame[0] !== 0 || frame.length !== 5 + frame.readUInt32BE(1)) return null
  const message = frame.subarray(5)
  // A field that has its default is left out.
  if (message.length === 0) return servingStatuses[0]
  const [field, status] = message
  if (message.length !== 2 || field !== numberInField1 || status === undefined) return null
  return servingStatuses[status] ?? null
}

function varint(value: number): Buffer {
  const bytes = []
  let rest = value
  for (; rest > 0x7f; rest >>>= 7) bytes.push((rest & 0x7f) | 0x80)
  return Buffer.from([...bytes, rest])
}
