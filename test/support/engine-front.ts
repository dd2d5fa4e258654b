import { connect, createServer as createPlainServer, type Socket } from 'node:net'
import { createServer as createTlsServer, type TlsOptions } from 'node:tls'

export type EngineFront = { port: number; close(): Promise<void> }

export type FrontOptions = {
  /** 127.0.0.1 by default. */
  host?: string
  /** Mutual TLS, as `dockerd --tlsverify` has it; plain TCP without. */
  tls?: Pick<TlsOptions, 'cert' | 'key' | 'ca'>
}

/** A TCP port that leads to an engine's socket. */
export async function startEngineFront(socketPath: string, options: FrontOptions = {}): Promise<EngineFront> {
  const { host = '127.0.0.1', tls } = options
  const clients = new Set<Socket>()
  const lead = (client: Socket) => {
    const engine = connect(socketPath)
    clients.add(client)
    client.on('close', () => clients.delete(client))
    client.on('error', () => engine.destroy())
    engine.on('error', () => client.destroy())
    client.pipe(engine).pipe(client)
  }
  const server =
    tls === undefined
      ? createPlainServer(lead)
      : createTlsServer({ ...tls, requestCert: true, rejectUnauthorized: true }, lead)
  server.on('tlsClientError', () => undefined)
  await new Promise<void>((resolve) => {
    server.listen(0, host, resolve)
  })
  const address = server.address()
  return {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    close() {
      for (const client of clients) client.destroy()
      return new Promise((resolve) => {
        server.close(() => resolve())
      })
    },
  }
}
