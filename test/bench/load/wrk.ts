import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { loadCore } from '../machine.ts'
import { host, missingProgram } from '../proxies/proxy.ts'

const program = '/usr/bin/wrk'
const script = join(import.meta.dirname, 'wrk.lua')
const headers = [`Host: ${host}`, 'User-Agent: bench', 'Accept: */*', 'Accept-Encoding: gzip']
const missing = missingProgram(program, 'wrk')
const run = promisify(execFile)

/** What clients ask for over and over. */
export type WrkRequest = { path: string; postBytes?: number }

/**
 * Keeps `connections` busy with one request each for whole `seconds`. Resolves with the number
 * of answers and the seconds that it took; an error or an answer other than 200 is thrown.
 */
export async function askWithWrk(
  { path, postBytes }: WrkRequest,
  { port, connections, seconds }: { port: number; connections: number; seconds: number },
): Promise<{ count: number; seconds: number }> {
  const remedy = missing()
  if (remedy !== undefined) throw new Error(`wrk is needed as the client: ${remedy}`)
  const command = [
    '-c',
    loadCore,
    program,
    '-t1',
    `-c${connections}`,
    `-d${seconds}s`,
    `-s${script}`,
    ...headers.flatMap((header) => ['-H', header]),
    `http://127.0.0.1:${port}${path}`,
    ...(postBytes === undefined ? [] : ['--', 'POST', String(postBytes)]),
  ]
  const { stdout } = await run('taskset', command, { timeout: (seconds + 20) * 1000 })
  const [, answers, microseconds, failed] = /^figures (\d+) (\d+) (\d+)$/m.exec(stdout) ?? []
  if (failed !== '0' || answers === '0') throw new Error(`wrk at port ${port}: ${stdout}`)
  return { count: Number(answers), seconds: Number(microseconds) / 1e6 }
}
