import { appendFileSync, chmodSync, chownSync, lstatSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { freePorts } from '../../../test/support/free-ports.ts'
import { type OwnMachine, type Ran, startOwnMachine } from '../../../test/support/own-machine.ts'
import { type Ports, portVariables } from '../settings.ts'
import type { SupervisorStatus } from '../supervisor/supervisor.ts'
import { makeStandInProject } from './stand-in-project.ts'

const realProject = resolve(import.meta.dirname, '../../..')
const node = join(realProject, 'node_modules/.bin/node')
const ada = { name: 'ada', uid: 4711 }

/** A machine of its own with the real commands, real stores and stand-in apps; what runs there ends with it. */
export type BerthMachine = {
  machine: OwnMachine
  /** The folder of the clone, as the machine sees it. */
  project: string
  data: string
  ports: Ports
  /** Runs `./berth <words>` to its end. `env` adds to its variables. */
  berth(words: readonly string[], env?: Record<string, string>): Promise<Ran>
  begin(words: readonly string[], env?: Record<string, string>): ReturnType<OwnMachine['begin']>
  /** What the supervisor says; undefined when there is none. */
  status(): Promise<SupervisorStatus | undefined>
  /** The pids there of everything that has been started by `up` and still runs, by name. */
  processes(): Promise<Map<string, number>>
  /** Sends a signal to a process by its pid there. */
  signal(name: 'KILL' | 'TERM', pid: number): Promise<void>
  close(): Promise<void>
}

/** Of root, cloned into /root, which only root may enter; or of a user without rights. */
export async function startBerthMachine(
  options: { owner?: 'root' | 'ada'; migrated?: boolean } = {},
): Promise<BerthMachine> {
  const { owner = 'root', migrated = false } = options
  const machine = await startOwnMachine()
  const home = owner === 'root' ? '/root' : '/home/ada'
  const project = join(home, 'berth')
  if (owner === 'ada') await addUser(machine, home)
  await makeStandInProject(realProject, machine.path(project), { migrated })
  if (owner === 'ada') await machine.run(['chown', '-R', `${ada.uid}:${ada.uid}`, project])
  openWayTo(machine, realProject)
  const ports = await freePorts()
  const variables = Object.entries(portVariables).map(([name, { variable }]) => [
    variable,
    String(ports[name as keyof Ports]),
  ])
  const common = {
    HOME: home,
    BERTH_LOCAL_NODE: 'none',
    ...(Object.fromEntries(variables) as Record<string, string>),
  }
  const user = owner === 'ada' ? { user: ada.uid } : {}
  const data = join(project, '.berth')

  const begin: BerthMachine['begin'] = (words, env = {}) =>
    machine.begin([node, join(project, 'infra/src/main.ts'), ...words], {
      ...user,
      env: { ...common, ...env },
    })

  const status: BerthMachine['status'] = async () => {
    const { output } = await begin(['status', '--json']).ended
    return output === '' ? undefined : (JSON.parse(output) as SupervisorStatus)
  }

  return {
    machine,
    project,
    data,
    ports,
    begin,
    berth: (words, env) => begin(words, env).ended,
    status,
    async processes() {
      // The first process of the machine and those that look are not of Berth.
      const { output } = await machine.run(['ps', '-e', '-o', 'pid=,args='])
      const found = new Map<string, number>()
      for (const line of output.split('\n')) {
        const [, pid, args = ''] = /^\s*(\d+) (.*)$/.exec(line) ?? []
        const name = nameOf(args)
        // What a process forks looks like itself at first, and comes after it.
        if (name !== undefined && !found.has(name)) found.set(name, Number(pid))
      }
      return found
    },
    async signal(name, pid) {
      await machine.run(['kill', `-${name}`, String(pid)])
    },
    close: () => machine.close(),
  }
}

const commandLines: Record<string, RegExp> = {
  supervisor: /supervisor\/main\.ts/,
  postgres: /\/bin\/postgres -D/,
  redis: /^redis-server/,
  registry: /registry serve/,
  api: /apps\/api\/src\/main\.ts/,
  worker: /apps\/worker\/src\/main\.ts/,
  router: /apps\/router\/src\/main\.ts/,
}

function nameOf(args: string): string | undefined {
  return Object.keys(commandLines).find((name) => commandLines[name]?.test(args))
}

async function addUser(machine: OwnMachine, home: string): Promise<void> {
  const line = `${ada.name}:x:${ada.uid}:${ada.uid}::${home}:/bin/sh\n`
  appendFileSync(machine.path('/etc/passwd'), line)
  await mkdir(machine.path(home), { recursive: true, mode: 0o700 })
  chownSync(machine.path(home), ada.uid, ada.uid)
}

/** Node and the packages of this checkout are read by every user there, wherever it lies. */
function openWayTo(machine: OwnMachine, folder: string): void {
  for (let at = folder; at !== '/'; at = dirname(at)) {
    const place = machine.path(at)
    chmodSync(place, lstatSync(place).mode | 0o011)
  }
}
