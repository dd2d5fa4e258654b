import { spawn } from 'node:child_process'
import { openSync, closeSync } from 'node:fs'
import { mkdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { lastLogLines } from '../supervisor/log-file.ts'
import { type GroupResult, readReport, type VitestReport } from './results.ts'

export type TestGroup = {
  name: string
  projects: readonly string[]
  /** The whole group is given up after this long. */
  timeoutMs: number
}

/** Where groups run: the folder of the project, and that of their output. `signal` ends them early. */
export type TestPlace = {
  project: string
  logs: string
  environment: NodeJS.ProcessEnv
  signal: AbortSignal
}

/** The one group of `./berth test --fast`. */
export const fastGroup: TestGroup = {
  name: 'fast',
  projects: ['unit', 'integration'],
  timeoutMs: 5 * 60_000,
}

/** The groups of `./berth test`, in the order in which they run. */
export const testGroups: readonly TestGroup[] = [
  // Component tests wait while the others compute.
  { name: 'parts', projects: [...fastGroup.projects, 'component'], timeoutMs: 10 * 60_000 },
  { name: 'machine', projects: ['machine'], timeoutMs: 5 * 60_000 },
  { name: 'e2e', projects: ['e2e'], timeoutMs: 20 * 60_000 },
  { name: 'chaos', projects: ['chaos'], timeoutMs: 20 * 60_000 },
]

/**
 * Runs vitest on the projects of a group, with its whole output in `logs/<label>.log`. A run that ends without
 * a report, or without any test, counts as one failure.
 */
export async function runGroup(
  { project, logs, environment, signal }: TestPlace,
  group: TestGroup,
  options: { label: string; files?: readonly string[] },
): Promise<GroupResult> {
  await mkdir(logs, { recursive: true })
  const report = join(logs, `${options.label}.json`)
  const log = join(logs, `${options.label}.log`)
  await rm(report, { force: true })
  await rm(log, { force: true })
  const bin = join(project, 'node_modules/.bin')
  const args = [
    join(project, 'node_modules/vitest/vitest.mjs'),
    'run',
    ...group.projects.flatMap((name) => ['--project', name]),
    '--reporter=default',
    '--reporter=json',
    `--outputFile=${report}`,
    ...(options.files ?? []),
  ]
  const output = openSync(log, 'a', 0o600)
  const child = spawn(join(bin, 'node'), args, {
    cwd: project,
    stdio: ['ignore', output, output],
    env: { ...withoutBerth(environment), PATH: `${bin}:${environment['PATH'] ?? ''}`, NO_COLOR: '1' },
  })
  closeSync(output)
  // SIGTERM lets vitest run its tear-down; it is killed only when that hangs.
  const stop = () => {
    child.kill('SIGTERM')
    setTimeout(() => child.kill('SIGKILL'), 60_000).unref()
  }
  const timer = setTimeout(stop, group.timeoutMs)
  signal.addEventListener('abort', stop, { once: true })
  const code = await new Promise<number | null>((resolve) => {
    child.once('error', () => resolve(null))
    child.once('exit', resolve)
  })
  clearTimeout(timer)
  signal.removeEventListener('abort', stop)
  return await judge(report, log, options.label, code)
}

async function judge(report: string, log: string, label: string, code: number | null): Promise<GroupResult> {
  const missing = async (why: string): Promise<GroupResult> => ({
    passed: [],
    failed: [{ file: '', name: `${label}: ${why}`, messages: await lastLogLines(log, 30) }],
    skipped: [],
  })
  let result: GroupResult
  try {
    result = readReport(JSON.parse(await readFile(report, 'utf8')) as VitestReport)
  } catch {
    return await missing(`ended without a report (exit code ${code})`)
  }
  if (result.passed.length + result.failed.length === 0) return await missing('ran no test')
  // Errors outside tests (an unhandled rejection, a tear-down) are in the exit code only.
  if (code !== 0 && result.failed.length === 0) {
    const errors = await missing(`all tests passed and vitest ended with exit code ${code}`)
    return { ...errors, passed: result.passed }
  }
  return result
}

/** Settings of the person's own Berth must not reach the platforms of tests. */
function withoutBerth(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(environment).filter(
      ([name]) => !name.startsWith('BERTH_') && !['DATABASE_URL', 'REDIS_URL', 'DOCKER_HOST'].includes(name),
    ),
  )
}
