import { checkOwner } from './data-folder.ts'
import { Failure } from './failure.ts'
import { runFolderOf } from './run-folder.ts'
import { say } from './say.ts'
import type { Settings } from './settings.ts'
import { readStatus } from './supervisor/control-client.ts'
import type { ProcessStatus } from './supervisor/supervised-process.ts'

/** Prints what runs. False when something is not ready; a Failure when nothing runs. */
export async function status(settings: Settings, json: boolean): Promise<boolean> {
  await checkOwner(settings.data)
  const found = await readStatus(runFolderOf(settings.data).supervisorSocket)
  if (found === undefined) throw new Failure('Berth is not running; start it with ./berth up.')
  if (json) {
    say(JSON.stringify(found, null, 2))
  } else {
    say(`Berth ${found.installation} is ${found.phase}.`)
    for (const line of table(found.processes, Date.now())) say(line)
    const { edge, tls, api, registry } = found.ports
    const overTls = tls === undefined ? '' : ` (with TLS ${tls})`
    say(
      `edge 127.0.0.1:${edge}${overTls}, API 127.0.0.1:${api}, registry 127.0.0.1:${registry}, data ${settings.data}`,
    )
  }
  return found.phase === 'ready' && found.processes.every(({ state }) => state === 'ready')
}

/** One line a process: name, state, pid, age, restarts, last problem. */
export function table(processes: readonly ProcessStatus[], nowMs: number): string[] {
  return processes.map((each) => {
    const age = each.startedAt === null ? '-' : `${Math.round((nowMs - Date.parse(each.startedAt)) / 1000)} s`
    const restarts = each.restarts === 0 ? '' : `  ${each.restarts} restarts`
    const problem = each.lastProblem === null ? '' : `  (${each.lastProblem})`
    const pid = each.pid === null ? '-' : `pid ${each.pid}`
    return `  ${each.name.padEnd(9)} ${each.state.padEnd(11)} ${pid.padEnd(11)} ${age}${restarts}${problem}`
  })
}
