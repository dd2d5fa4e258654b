import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import {
  freePort,
  maxClients,
  missingProgram,
  type Proxy,
  type ProxyPlace,
  startProcess,
  versionOf,
} from './proxy.ts'

const program = '/usr/sbin/haproxy'

/** One thread, kept connections to the app, the same headers added; what is above `concurrency` waits in its queue. */
export const haproxy: Proxy = {
  name: 'HAProxy',
  version: () => versionOf(program, '-v'),
  missing: missingProgram(program, 'haproxy'),
  async start(place) {
    const port = await freePort()
    const file = join(place.folder, `haproxy-${port}.cfg`)
    await writeFile(file, configuration(port, place))
    const command = [program, '-db', '-q', '-f', file]
    return startProcess({ name: 'HAProxy', port, command, folder: place.folder })
  },
}

function configuration(port: number, { replicaPorts, concurrency, protocol }: ProxyPlace): string {
  const proto = protocol === 'h2c' ? 'proto h2' : ''
  const servers = replicaPorts.map(
    (each) => `server r${each} 127.0.0.1:${each} maxconn ${concurrency} ${proto}`,
  )
  return `
global
  nbthread 1
  maxconn ${maxClients}
  # It counts two descriptors per client, which may be more than the machine's limit; it needs about one.
  no strict-limits
defaults
  mode http
  option http-keep-alive
  http-reuse always
  timeout connect 5s
  timeout client 300s
  timeout server 300s
  timeout queue 60s
  timeout tunnel 300s
  timeout http-keep-alive 75s
frontend edge
  bind 127.0.0.1:${port} backlog 4096 ${proto}
  option forwardfor
  http-request set-var-fmt(txn.id) "%[rand,hex]%[rand,hex]"
  http-request set-header X-Forwarded-Proto http
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  http-request set-header Forwarded 'for=%[src];host="%[req.hdr(host)]";proto=http'
  http-request set-header X-Request-Id %[var(txn.id)]
  http-request set-header traceparent 00-%[var(txn.id)]-0123456789abcdef-01
  default_backend app
backend app
  balance leastconn
  ${servers.join('\n  ')}
`
}
