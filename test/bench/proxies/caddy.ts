import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import {
  freePort,
  host,
  missingProgram,
  type Proxy,
  type ProxyPlace,
  startProcess,
  versionOf,
} from './proxy.ts'

const program = '/usr/bin/caddy'

/** Its reverse proxy without TLS; the X-Forwarded headers are its own. The trace is a constant, which is in its favour. */
export const caddy: Proxy = {
  name: 'Caddy',
  version: () => versionOf(program, 'version'),
  missing: missingProgram(program, 'caddy'),
  async start(place) {
    const port = await freePort()
    const file = join(place.folder, `Caddyfile-${port}`)
    await writeFile(file, configuration(port, place))
    const command = [program, 'run', '--adapter', 'caddyfile', '--config', file]
    const env = { PATH: process.env['PATH'], HOME: place.folder }
    return startProcess({ name: 'Caddy', port, command, folder: place.folder, env })
  },
}

function configuration(port: number, { replicaPorts, protocol }: ProxyPlace): string {
  const replicas = replicaPorts.map((each) => `127.0.0.1:${each}`).join(' ')
  const [protocols, versions] = protocol === 'h2c' ? ['h1 h2c', 'h2c'] : ['h1', '1.1']
  return `
{
	admin off
	auto_https off
	servers {
		protocols ${protocols}
	}
}
http://${host}:${port} {
	bind 127.0.0.1
	reverse_proxy ${replicas} {
		header_up Forwarded "for={remote_host};host=\\"{hostport}\\";proto={scheme}"
		header_up X-Request-Id {http.request.uuid}
		header_up traceparent 00-0123456789abcdef0123456789abcdef-0123456789abcdef-01
		transport http {
			versions ${versions}
			compression off
			keepalive 75s
			keepalive_idle_conns_per_host 128
		}
	}
}
`
}
