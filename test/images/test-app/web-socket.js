import { createHash } from 'node:crypto'

const magic = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
const close = 8
const ping = 9
const pong = 10

/**
 * Takes a WebSocket and sends every message back, with the least of RFC 6455 that tests need. The answer names the
 * revision that took it.
 */
export function acceptWebSocket(request, socket) {
  const accept = createHash('sha1').update(`${request.headers['sec-websocket-key']}${magic}`).digest('base64')
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\nX-Revision: ${process.env.K_REVISION ?? ''}\r\n\r\n`,
  )
  let buffered = Buffer.alloc(0)
  socket.on('error', () => socket.destroy())
  socket.on('data', (chunk) => {
    buffered = Buffer.concat([buffered, chunk])
    for (let frame = readFrame(buffered); frame !== undefined; frame = readFrame(buffered)) {
      buffered = buffered.subarray(frame.size)
      if (frame.opcode === close) return socket.end(makeFrame(close, frame.payload))
      if (frame.opcode !== pong)
        socket.write(makeFrame(frame.opcode === ping ? pong : frame.opcode, frame.payload))
    }
  })
}

function readFrame(buffer) {
  if (buffer.length < 2) return undefined
  const opcode = buffer[0] & 15
  let length = buffer[1] & 127
  let at = 2
  if (length === 126) {
    if (buffer.length < 4) return undefined
    length = buffer.readUInt16BE(2)
    at = 4
  } else if (length === 127) {
    if (buffer.length < 10) return undefined
    length = Number(buffer.readBigUInt64BE(2))
    at = 10
  }
  const size = at + 4 + length
  if (buffer.length < size) return undefined
  const mask = buffer.subarray(at, at + 4)
  const payload = Buffer.from(buffer.subarray(at + 4, size))
  for (let index = 0; index < payload.length; index += 1) payload[index] ^= mask[index % 4]
  return { opcode, payload, size }
}

function makeFrame(opcode, payload) {
  const head = payload.length < 126 ? Buffer.alloc(2) : Buffer.alloc(payload.length < 65_536 ? 4 : 10)
  head[0] = 128 | opcode
  if (payload.length < 126) head[1] = payload.length
  else if (payload.length < 65_536) {
    head[1] = 126
    head.writeUInt16BE(payload.length, 2)
  } else {
    head[1] = 127
    head.writeBigUInt64BE(BigInt(payload.length), 2)
  }
  return Buffer.concat([head, payload])
}
