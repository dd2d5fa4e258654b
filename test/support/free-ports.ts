import { createServer, type Server } from 'node:net'
import { type PortName, type Ports, portVariables } from '../../infra/src/settings.ts'

/** A port of 127.0.0.1 for each of Berth's, free a moment ago. */
export async function freePorts(): Promise<Ports> {
  const names = Object.keys(portVariables) as PortName[]
  const servers = await Promise.all(names.map(() => listen()))
  const ports = servers.map((server) => {
    const address = server.address()
    return typeof address === 'object' && address !== null ? address.port : 0
  })
  await Promise.all(servers.map((server) => new Promise((done) => server.close(done))))
  return Object.fromEntries(names.map((name, index) => [name, ports[index]])) as Ports
}

function listen(): Promise<Server> {
  const server = createServer()
  return new Promise((done, reject) => {
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => done(server))
  })
}
