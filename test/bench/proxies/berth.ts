import { accessSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { join, resolve } from 'node:path'
import type { RouteSnapshot } from '@berth/contracts'
import { startTestChild, type TestChild } from '../../support/child.ts'
import { freePorts } from '../../support/free-ports.ts'
import { until } from '../../support/poll.ts'

/** A proxy that is measured, in one process. */
export type Subject = { name: string; port: number; child: TestChild }

export type Place = {
  folder: string
  originPort: number
  /** Processor that only proxies run on. */
  core: string
}

const installation = 'bench'
const nginx = '/usr/sbin/nginx'

/** A router as `up` starts it, but with a table from disk and nobody to report to. */
export async function startBerth(
  name: string,
  { folder, originPort, core }: Place,
  env: Record<string, string>,
  nodeOptions: readonly string[] = [],
): Promise<Subject> {
  const ports = await freePorts()
  const tableFile = join(folder, `${ports.edge}.json`)
  await writeFile(tableFile, JSON.stringify(tableTo(originPort)))
  const main = resolve(import.meta.dirname, '../../../apps/router/src/main.ts')
  const child = startTestChild(['taskset', '-c', core, process.execPath, ...nodeOptions, main], {
    cwd: folder,
    env: {
      PATH: process.env['PATH'],
      BERTH_INSTALLATION: installation,
      BERTH_ROUTE_TABLE_FILE: tableFile,
      BERTH_EDGE_PORT: String(ports.edge),
      BERTH_ROUTER_ADMIN_PORT: String(ports.routerAdmin),
      ...env,
    },
  })
  await accepts(name, ports.edge, child)
  return { name, port: ports.edge, child }
}

/** nginx with the same work: a kept connection to the app, and the same headers added. Undefined where there is none. */
export async function startNginx({ folder, originPort, core }: Place): Promise<Subject | undefined> {
  try {
    accessSync(nginx)
  } catch {
    return undefined
  }
  const { edge: port } = await freePorts()
  const prefix = join(folder, 'nginx')
  await mkdir(prefix)
  await writeFile(join(prefix, 'nginx.conf'), nginxConfiguration(port, originPort, prefix))
  const child = startTestChild(['taskset', '-c', core, nginx, '-p', prefix, '-c', join(prefix, 'nginx.conf')])
  await accepts('nginx', port, child)
  return { name: 'nginx', port, child }
}

function nginxConfiguration(port: number, originPort: number, prefix: string): string {
  return `
    daemon off; master_process off; worker_processes 1; pid ${prefix}/pid; error_log stderr error;
    events { worker_connections 4096; }
    http {
      access_log off; keepalive_requests 100000000; keepalive_timeout 75s;
      client_body_temp_path ${prefix}/a; proxy_temp_path ${prefix}/b; fastcgi_temp_path ${prefix}/c;
      uwsgi_temp_path ${prefix}/d; scgi_temp_path ${prefix}/e;
      upstream app { server 127.0.0.1:${originPort}; keepalive 64; keepalive_requests 100000000; }
      server {
        listen 127.0.0.1:${port}; server_name hello.localhost;
        location / {
          proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection "";
          proxy_set_header Host $http_host; proxy_set_header X-Forwarded-For $remote_addr;
          proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Forwarded-Host $http_host;
          proxy_set_header Forwarded "for=$remote_addr;host=\\"$http_host\\";proto=$scheme";
          proxy_set_header X-Request-Id $request_id;
          proxy_set_header traceparent "00-$request_id-0123456789abcdef-01";
        }
      }
    }`
}

function tableTo(port: number): RouteSnapshot {
  const service = { project: 'default', service: 'hello', serviceUid: 'svc-1' }
  const replicas = [{ id: 'r1', node: 'n1', address: '127.0.0.1', port }]
  return {
    kind: 'snapshot',
    installation,
    version: { epoch: 1, sequence: 1 },
    hosts: [{ ...service, host: 'hello.localhost', targets: [{ revision: 'rev-1', percent: 100 }] }],
    revisions: [
      {
        ...service,
        uid: 'rev-1',
        name: 'hello-00001',
        concurrency: 80,
        timeoutMs: 300_000,
        queueDeadlineMs: 10_000,
        atMaxScale: false,
        blocked: null,
        replicas,
      },
    ],
  }
}

async function accepts(name: string, port: number, child: TestChild): Promise<void> {
  await until(
    () =>
      new Promise<boolean>((done) => {
        const socket = connect(port, '127.0.0.1')
        socket.once('error', () => done(false))
        socket.once('connect', () => {
          socket.destroy()
          done(true)
        })
      }),
    { describe: `${name} to accept` },
  ).catch((error: unknown) => {
    throw new Error(`${name} does not accept: ${child.output()}`, { cause: error })
  })
}
