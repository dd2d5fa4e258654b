import { cp, mkdir, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

/*
 * A project folder with this infra and the smallest apps that it can start, so that `up` and `down` are tested
 * without the apps' own time and faults.
 */

const health = `const health = (request, response) => response.end(request.url === '/readyz' ? 'ok' : 'edge')`

const apps = {
  api: `${health}
    createServer(health).listen(Number(process.env.BERTH_API_PORT), '127.0.0.1')`,
  worker: `${health}
    createServer(health).listen(Number(process.env.BERTH_WORKER_ADMIN_PORT), '127.0.0.1')
    rmSync(process.env.BERTH_HUB_SOCKET ?? '', { force: true })
    createServer(health).listen(process.env.BERTH_HUB_SOCKET)`,
  router: `
    const places = [...(process.env.BERTH_EDGE_FDS ?? '').split(','), process.env.BERTH_ADMIN_FD].map(Number)
    // Proves that the user of the router reaches the worker and its own folder, and says who it is.
    const hub = request({ socketPath: process.env.BERTH_HUB_SOCKET, path: '/readyz' })
    hub.on('error', () => process.exit(1))
    hub.on('response', () => {
      writeFileSync(process.env.BERTH_ROUTE_TABLE_FILE ?? '', '{}')
      for (const fd of places)
        createServer((_request, response) => response.end(String(process.getuid?.()))).listen({ fd })
    })
    hub.end()`,
} as const

const imports = `import { createServer, request } from 'node:http'
import { rmSync, writeFileSync } from 'node:fs'
void [createServer, request, rmSync, writeFileSync]
process.on('SIGTERM', () => process.exit(0))
`

/**
 * Copies infra from `project` and writes the apps below `folder`. Node modules are shared by a link. The database
 * gets its tables with `migrated` only: loading what makes them takes longer than all the rest of a start.
 */
export async function makeStandInProject(
  project: string,
  folder: string,
  options: { migrated: boolean },
): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 })
  for (const part of ['infra', 'test/support'])
    await cp(join(project, part), join(folder, part), { recursive: true })
  await symlink(join(project, 'node_modules'), join(folder, 'node_modules'))
  const migrate = join(folder, 'packages/db/src')
  await mkdir(migrate, { recursive: true })
  const real = join(project, 'packages/db/src/migrate-main.ts')
  await writeFile(
    join(migrate, 'migrate-main.ts'),
    options.migrated ? `import '${real}'\n` : `process.exitCode = process.env['DATABASE_URL'] ? 0 : 1\n`,
  )
  for (const [name, source] of Object.entries(apps)) {
    const place = join(folder, 'apps', name, 'src')
    await mkdir(place, { recursive: true })
    await writeFile(join(place, 'main.ts'), `${imports}${source}\n`)
  }
}
