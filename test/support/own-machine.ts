import { spawn } from 'node:child_process'
import { existsSync, lstatSync, readFileSync, readlinkSync } from 'node:fs'
import { mkdir, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { startTestChild } from './child.ts'
import { makeOwnedFolder } from './owned-folder.ts'
import { until } from './poll.ts'

/*
 * A machine to break: all files of this one below an overlay in memory that is thrown away, an empty /run, and its own
 * processes, which end with it. Users and network are those of this machine.
 */
const setUp = `
set -eu
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
mount -t proc proc "$1/root/proc"
mount --rbind /dev "$1/root/dev"
mount -t tmpfs -o mode=755 tmpfs "$1/root/run"
mkdir "$1/root/run/lock"
cd "$1/root"
exec chroot . /bin/sh -c 'touch /run/is-up; exec sleep infinity'
`

export type Ran = { code: number | null; output: string; errors: string }

type RunOptions = {
  /** The uid and gid to run as; root by default. */
  user?: number
  env?: Record<string, string>
  cwd?: string
}

export type OwnMachine = {
  /** Where a file of the machine is seen from here. Links to folders on the way lead where they lead there. */
  path(inside: string): string
  /** Whether there is anything of that name, also a link to nowhere. */
  exists(inside: string): boolean
  /** Runs a command to its end. */
  run(command: readonly string[], options?: RunOptions): Promise<Ran>
  /** Starts a command. `kill` ends it with SIGKILL, and nothing that it has started. */
  begin(command: readonly string[], options?: RunOptions): { kill(): void; ended: Promise<Ran> }
  /** Ends everything that runs there and forgets its files. */
  close(): Promise<void>
}

const defaultEnv = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', HOME: '/root' }

/** Needs root. */
export async function startOwnMachine(): Promise<OwnMachine> {
  const folder = await makeOwnedFolder()
  const place = join(folder, 'machine')
  await mkdir(place)
  const namespaces = ['--mount', '--propagation', 'private', '--pid', '--fork', '--kill-child']
  const child = startTestChild(['unshare', ...namespaces, '/bin/sh', '-c', setUp, 'sh', place])
  const first = await until(() => firstProcess(child.process.pid ?? 0), {
    describe: `a machine of its own (${child.output()})`,
  }).catch(async (error: unknown) => {
    await child.stop('SIGKILL')
    throw new Error(child.output(), { cause: error })
  })
  const root = `/proc/${first}/root`

  const begin: OwnMachine['begin'] = (command, { user, env = {}, cwd = '/' } = {}) => {
    const enter = ['nsenter', `--target=${first}`, '--mount', '--pid', '--root', `--wd=${root}${cwd}`]
    const become =
      user === undefined ? [] : ['setpriv', `--reuid=${user}`, `--regid=${user}`, '--clear-groups']
    const [file = '', ...args] = [...enter, '--', ...become, ...command]
    const started = spawn(file, args, { env: { ...defaultEnv, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
    let [output, errors] = ['', '']
    started.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()))
    started.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()))
    const ended = new Promise<Ran>((resolve) => {
      started.once('close', (code) => resolve({ code, output, errors }))
    })
    return {
      ended,
      kill() {
        // nsenter waits for the command in a process of its own.
        for (const pid of childrenOf(started.pid ?? 0)) process.kill(pid, 'SIGKILL')
      },
    }
  }

  return {
    path: (inside) => pathBelow(root, inside),
    exists: (inside) => lstatSync(pathBelow(root, inside), { throwIfNoEntry: false }) !== undefined,
    begin,
    run: (command, options) => begin(command, options).ended,
    async close() {
      await child.stop('SIGKILL')
      await rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 })
    },
  }
}

/** An absolute link such as /var/run would lead out of `root` and to this machine's own files. */
function pathBelow(root: string, inside: string): string {
  const folder = dirname(inside)
  if (folder === inside) return root
  const place = join(pathBelow(root, folder), basename(inside))
  const link =
    lstatSync(place, { throwIfNoEntry: false })?.isSymbolicLink() === true ? readlinkSync(place) : ''
  return link.startsWith('/') ? pathBelow(root, link) : place
}

/** The process with pid 1 there, once everything is mounted. */
function firstProcess(unshare: number): number | undefined {
  const [first] = childrenOf(unshare)
  return first !== undefined && existsSync(`/proc/${first}/root/run/is-up`) ? first : undefined
}

/** None when the process is gone. */
function childrenOf(pid: number): number[] {
  try {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
    return children.split(' ').filter(Boolean).map(Number)
  } catch {
    return []
  }
}
