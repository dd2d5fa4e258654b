import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { loadCore } from '../machine.ts'
import { missingProgram } from '../proxies/proxy.ts'

const program = '/usr/bin/h2load'
const missing = missingProgram(program, 'nghttp2-client')
const run = promisify(execFile)

type Calls = {
  url: string
  headers: readonly string[]
  /** Of the body that is sent with each. */
  bodyFile: string
  connections: number
  /** Calls at a time on each connection. */
  streams: number
  seconds: number
}

/** Keeps that many calls under way for `seconds`; one that fails or is not answered with 200 is thrown. */
export async function callWithH2load(calls: Calls): Promise<{ count: number; seconds: number }> {
  const remedy = missing()
  if (remedy !== undefined) throw new Error(`h2load is needed as the client: ${remedy}`)
  const command = [
    '-c',
    loadCore,
    program,
    '-t1',
    `-c${calls.connections}`,
    `-m${calls.streams}`,
    `-D${calls.seconds}`,
    `-d${calls.bodyFile}`,
    ...calls.headers.map((header) => `-H${header}`),
    calls.url,
  ]
  const { stdout } = await run('taskset', command, { timeout: (calls.seconds + 20) * 1000 })
  const [, succeeded, failed] = /, (\d+) succeeded, (\d+) failed,/.exec(stdout) ?? []
  if (failed !== '0' || succeeded === '0') throw new Error(`h2load at ${calls.url}: ${stdout}`)
  return { count: Number(succeeded), seconds: calls.seconds }
}
