import { connect } from 'node:net'
import { createServer, type TlsOptions } from 'node:tls'

export type TlsFront = { port: number; close(): Promise<void> }

/** Puts mutual TLS on 127.0.0.1 in front of an engine's socket, as `dockerd --tlsverify` listens. */
export async function startTlsFront(
  socketPath: string,
  identity: Pick<TlsOptions, 'cert' | 'key' | 'ca'>,
): Promise<TlsFront> {
  const server = createServer({ ...identity, requestCert: true, rejectUnauthorized: true }, (client) => {
    const engine = connect(socketPath)
    client.on('error', () => engine.destroy())
    engine.on('error', () => client.destroy())
    client.pipe(engine).pipe(client)
  })
  server.on('tlsClientError', () => undefined)
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve)
  })
  const address = server.address()
  return {
    port: typeof address === 'object' && address ? address.port : 0,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
      }),
  }
}
