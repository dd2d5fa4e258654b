/**
 * A ClientHello of TLS 1.2 that names a server, as no library would write it: `name` may have any bytes and any length
 * (RFC 5246, 7.4.1.2; RFC 6066, 3). Nothing else of it is odd.
 */
export function clientHello(name: Buffer): Buffer {
  const entry = Buffer.concat([Buffer.from([0]), withLength(2, name)])
  const extensions = [
    extension(0, withLength(2, entry)),
    // Curves, formats of points, and signatures that any server takes.
    extension(10, Buffer.from('0004001d0017', 'hex')),
    extension(11, Buffer.from('0100', 'hex')),
    extension(13, Buffer.from('0006040104030804', 'hex')),
  ]
  const body = Buffer.concat([
    Buffer.from('0303', 'hex'),
    Buffer.alloc(32, 7),
    Buffer.from([0]),
    withLength(2, Buffer.from('c02fc02bc030c02c', 'hex')),
    Buffer.from('0100', 'hex'),
    withLength(2, Buffer.concat(extensions)),
  ])
  const handshake = Buffer.concat([Buffer.from([1]), withLength(3, body)])
  return Buffer.concat([Buffer.from('160301', 'hex'), withLength(2, handshake)])
}

function extension(type: number, body: Buffer): Buffer {
  return Buffer.concat([Buffer.from([0, type]), withLength(2, body)])
}

function withLength(bytes: number, body: Buffer): Buffer {
  const length = Buffer.alloc(bytes)
  length.writeUIntBE(body.length, 0, bytes)
  return Buffer.concat([length, body])
}
