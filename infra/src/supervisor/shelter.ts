import { mkdirSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { type Account, isRoot } from '../machine/accounts.ts'
import type { RunFolder } from '../run-folder.ts'

/**
 * How processes of other users reach the project and the data. Started by root from a folder that only root
 * may enter (a clone in /root is the usual case), they get a mount namespace of their own in which both are
 * bound below the run folder; permissions of the home folder stay as they are. Otherwise paths are real paths.
 */
export type Shelter = {
  /** The path under which such a process sees `real`. */
  path(real: string): string
  /** The command and account to start it with. */
  enter(
    command: readonly string[],
    account: Account | undefined,
  ): { command: readonly string[]; account?: Account }
}

const openAir: Shelter = {
  path: (real) => real,
  enter: (command, account) => (account === undefined ? { command } : { command, account }),
}

export function chooseShelter(project: string, data: string, run: RunFolder): Shelter {
  if (!isRoot() || (isTraversable(project) && isTraversable(data))) return openAir
  const binds = [
    { real: project, seen: join(run.shelter, 'project') },
    { real: data, seen: join(run.shelter, 'data') },
  ]
  for (const { seen } of binds) mkdirSync(seen, { recursive: true, mode: 0o755 })
  return mountShelter(join(project, 'infra', 'enter-shelter'), binds)
}

/** Exported for its test; `binds` are looked up longest first, since the data may lie inside the project. */
export function mountShelter(script: string, binds: readonly { real: string; seen: string }[]): Shelter {
  const longestFirst = binds.toSorted((a, b) => b.real.length - a.real.length)
  return {
    path(real) {
      const bind = longestFirst.find((entry) => real === entry.real || real.startsWith(`${entry.real}/`))
      return bind === undefined ? real : bind.seen + real.slice(bind.real.length)
    },
    enter(command, account) {
      if (account === undefined) return { command }
      const places = binds.flatMap(({ real, seen }) => [real, seen])
      const identity = [String(account.uid), String(account.gid)]
      const outer = ['unshare', '--mount', '--propagation', 'private', '/bin/sh', script]
      return { command: [...outer, ...identity, ...places, ...command] }
    },
  }
}

/** Whether other users may pass through every folder down to `path`. */
function isTraversable(path: string): boolean {
  for (let folder = path; ; folder = dirname(folder)) {
    if ((statSync(folder).mode & 0o001) === 0) return false
    if (folder === dirname(folder)) return true
  }
}
