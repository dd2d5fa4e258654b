import { join } from 'node:path'
import { Failure } from '../failure.ts'
import { isRoot } from '../machine/accounts.ts'
import { say } from '../say.ts'
import { type FailedTest, type GroupResult, joinSecondRun, summaryLine } from './results.ts'
import { fastGroup, runGroup, type TestGroup, type TestPlace, testGroups } from './vitest-group.ts'

/** Removes what test runs that are gone have left on the machine; test/support knows how. */
type ClearLeftovers = () => Promise<number>

export type TestRun = {
  project: string
  /** Runs what needs no Docker Engine and no whole app. */
  fast: boolean
  environment: NodeJS.ProcessEnv
  clear: ClearLeftovers
  /** Aborts when the run is to end early. */
  asked: AbortSignal
}

/**
 * Runs all groups one after the other and returns the exit code: 0 only when every test of every group passed.
 * The last line is `N passed, N failed`.
 */
export async function runTests({ project, fast, environment, clear, asked }: TestRun): Promise<number> {
  if (!isRoot())
    throw new Failure(
      'The tests start Docker Engines, databases and network namespaces of their own; run them as root.',
    )
  const logs = join(project, 'node_modules', '.cache', 'berth', 'test')
  const place = { project, logs, environment, signal: asked }
  const results: GroupResult[] = []
  const unstable: string[] = []
  const groups = fast ? [fastGroup] : testGroups
  try {
    const left = await clear()
    if (left > 0) say(`Removed what ${left} killed test runs had left.`)
    for (const group of groups) {
      if (asked.aborted) break
      const { result, shaky } = await runWithSecondChance(place, group)
      results.push(result)
      unstable.push(...shaky)
    }
  } finally {
    await clear()
  }
  for (const name of unstable) say(`UNSTABLE: ${name} (passed only in its second run)`)
  if (asked.aborted) say('Stopped before the end.')
  say(summaryLine(results))
  const allPassed = results.every(({ failed, skipped }) => failed.length + skipped.length === 0)
  return allPassed && results.length === groups.length && !asked.aborted ? 0 : 1
}

/** Failed files run once more, with stores or a platform of their own; what passes only then is told as unstable. */
async function runWithSecondChance(
  place: TestPlace,
  group: TestGroup,
): Promise<{ result: GroupResult; shaky: string[] }> {
  const log = `${join(place.logs, group.name)}.log`
  say(`== ${group.name}: ${group.projects.join(' and ')} tests (output in ${log})`)
  const startedAt = performance.now()
  const first = await runGroup(place, group, { label: group.name })
  report(group.name, first, performance.now() - startedAt)
  if (first.failed.length === 0 || place.signal.aborted) return { result: first, shaky: [] }
  const label = `${group.name}-again`
  const files = [...new Set(first.failed.map(({ file }) => file))].filter((file) => file !== '')
  say(`== ${label}: second run of ${files.length === 0 ? 'everything' : `${files.length} files`}`)
  const again = await runGroup(place, group, { label, files })
  report(label, again, performance.now() - startedAt)
  const joined = joinSecondRun(first, again)
  return { result: joined.result, shaky: joined.unstable }
}

function report(label: string, result: GroupResult, ms: number): void {
  for (const failure of result.failed) printFailure(failure)
  for (const { name } of result.skipped) say(`SKIPPED: ${name}`)
  say(`${label}: ${summaryLine([result])} in ${Math.round(ms / 1000)} s`)
}

const shownLines = 25

function printFailure({ file, name, messages }: FailedTest): void {
  say(`FAILED: ${name}`)
  if (file !== '') say(`  ${file}`)
  const lines = messages.join('\n').split('\n')
  for (const line of lines.slice(0, shownLines)) say(`  ${line}`)
}
