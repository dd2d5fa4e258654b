import { execFile } from 'node:child_process'
import { realpathSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { isRoot } from '../machine/accounts.ts'

const run = promisify(execFile)

/** What the router's user has to read; no data and no secret lies in there. */
const codeFolders = ['apps', 'packages', 'node_modules']

/**
 * Lets other users read Berth's own code where root cloned it under a mask such as 077, because the router runs
 * as a user of its own. Folders above the project stay as closed as they are (see shelter.ts). Returns whether
 * something had to be changed.
 */
export async function openCode(project: string): Promise<boolean> {
  if (!isRoot() || isOpen(project)) return false
  await run('chmod', ['go+x', project])
  await run('chmod', ['-R', 'go+rX', ...codeFolders.map((folder) => join(project, folder))])
  return true
}

/** Judged by the ends of the paths that the router takes: its folder, its program, and Node. */
function isOpen(project: string): boolean {
  const mode = (path: string) => statSync(path).mode
  const program = join(project, 'apps/router/src/main.ts')
  const node = realpathSync(join(project, 'node_modules/.bin/node'))
  const folders = [project, join(project, 'apps'), join(project, 'packages'), join(project, 'node_modules')]
  return (
    folders.every((folder) => (mode(folder) & 0o001) !== 0) &&
    (mode(program) & 0o004) !== 0 &&
    (mode(node) & 0o005) === 0o005
  )
}
