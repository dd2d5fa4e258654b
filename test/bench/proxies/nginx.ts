import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import {
  freePort,
  host,
  maxClients,
  missingProgram,
  type Proxy,
  type ProxyPlace,
  startProcess,
  versionOf,
} from './proxy.ts'

const program = '/usr/sbin/nginx'

/** Kept connections to the app, the same headers added, WebSockets, no logs, and no body on disk. */
export const nginx: Proxy = {
  name: 'nginx',
  version: () => versionOf(program, '-v'),
  missing: missingProgram(program, 'nginx-light'),
  async start(place) {
    const port = await freePort()
    const prefix = join(place.folder, `nginx-${port}`)
    await mkdir(prefix)
    const file = join(prefix, 'nginx.conf')
    await writeFile(file, configuration(port, place, prefix))
    return startProcess({ name: 'nginx', port, command: [program, '-p', prefix, '-c', file], folder: prefix })
  },
}

const headers = (directive: string) => `
          ${directive} Host $http_host; ${directive} X-Forwarded-For $remote_addr;
          ${directive} X-Forwarded-Proto $scheme; ${directive} X-Forwarded-Host $http_host;
          ${directive} Forwarded "for=$remote_addr;host=\\"$http_host\\";proto=$scheme";
          ${directive} X-Request-Id $request_id;
          ${directive} traceparent "00-$request_id-0123456789abcdef-01";`
const httpPass = `
          proxy_pass http://app; proxy_http_version 1.1; proxy_read_timeout 300s; proxy_send_timeout 300s;
          proxy_set_header Connection $upstream_connection; proxy_set_header Upgrade $http_upgrade;
          ${headers('proxy_set_header')}`
const grpcPass = `grpc_pass grpc://app; ${headers('grpc_set_header')}`

function configuration(port: number, { replicaPorts, protocol }: ProxyPlace, prefix: string): string {
  const [listens, pass] = protocol === 'h2c' ? ['http2', grpcPass] : ['', httpPass]
  const servers = replicaPorts.map((each) => `server 127.0.0.1:${each};`).join(' ')
  return `
    daemon off; master_process off; worker_processes 1; pid ${prefix}/pid; error_log stderr error;
    events { worker_connections ${maxClients}; }
    http {
      access_log off; keepalive_requests 100000000; keepalive_timeout 75s;
      client_max_body_size 0; proxy_request_buffering off; proxy_max_temp_file_size 0;
      client_body_temp_path ${prefix}/a; proxy_temp_path ${prefix}/b; fastcgi_temp_path ${prefix}/c;
      uwsgi_temp_path ${prefix}/d; scgi_temp_path ${prefix}/e;
      upstream app { ${servers} keepalive 64; keepalive_requests 100000000; }
      map $http_upgrade $upstream_connection { default upgrade; "" ""; }
      server {
        listen 127.0.0.1:${port} backlog=4096 ${listens}; server_name ${host};
        location / {
          ${pass}
        }
      }
    }`
}
