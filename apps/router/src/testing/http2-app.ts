import {
  createServer,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
  type Settings,
} from 'node:http2'

export type Http2App = { port: number; sessions: Set<ServerHttp2Session>; close(): Promise<void> }

/** A stand-in for a replica's app that speaks HTTP/2 without TLS. */
export function startHttp2App(
  onStream: (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, flags: number) => void,
  settings: Settings = {},
): Promise<Http2App> {
  const sessions = new Set<ServerHttp2Session>()
  const server = createServer({ settings })
  server.on('session', (session: ServerHttp2Session) => {
    sessions.add(session)
    session.on('error', () => undefined)
    session.once('close', () => sessions.delete(session))
  })
  server.on('stream', (stream: ServerHttp2Stream, headers, flags: number) => {
    stream.on('error', () => undefined)
    onStream(stream, headers, flags)
  })
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      resolve({
        port: address !== null && typeof address === 'object' ? address.port : 0,
        sessions,
        close: () =>
          new Promise((closed) => {
            server.close(() => closed())
            for (const session of sessions) session.destroy()
          }),
      })
    })
  })
}
