/** The part of vitest's JSON report that counts. */
export type VitestReport = {
  testResults: {
    name: string
    status: string
    message?: string
    assertionResults: { fullName: string; status: string; failureMessages?: string[] | null }[]
  }[]
}

/** A test is known by its file and its name; two files may use the same words. */
type TestName = { file: string; name: string }

/**
 * `file` is empty for a failure of the whole group (no report, no test, an error outside tests). `name` is the file
 * itself for one that could not be loaded or whose hooks failed.
 */
export type FailedTest = TestName & { messages: string[] }

export type GroupResult = {
  passed: TestName[]
  failed: FailedTest[]
  /** Skipped tests count as failures of the run: nothing is skipped silently. */
  skipped: TestName[]
}

/**
 * Counts a report. A file that could not be loaded or whose hooks failed has no failed test of its own; it
 * counts as one failure under its own name.
 */
export function readReport(report: VitestReport): GroupResult {
  const result: GroupResult = { passed: [], failed: [], skipped: [] }
  for (const { name: file, status: outcome, message, assertionResults } of report.testResults) {
    const before = result.failed.length
    for (const { fullName: name, status, failureMessages } of assertionResults) {
      if (status === 'passed') result.passed.push({ file, name })
      else if (status === 'failed') result.failed.push({ file, name, messages: failureMessages ?? [] })
      else result.skipped.push({ file, name })
    }
    if (outcome === 'failed' && result.failed.length === before)
      result.failed.push({ file, name: file, messages: [message ?? 'no message'] })
  }
  return result
}

export type SecondRun = { result: GroupResult; unstable: string[] }

/**
 * Joins a group's run with the second run of its failed files, or of everything when the group itself had failed.
 * Only what was seen to pass the second time is forgiven: it counts as passed and is named as unstable. What the
 * second run did not reach stays as the first run left it, and a second run that broke down as a whole forgives
 * nothing.
 */
export function joinSecondRun(first: GroupResult, second: GroupResult): SecondRun {
  const secondBroke = second.failed.some(({ file }) => file === '')
  if (secondBroke) return { result: { ...first, failed: union(second.failed, first.failed) }, unstable: [] }
  const forgiven = first.failed.filter((failure) => isForgiven(failure, second))
  const failed = union(second.failed, without(first.failed, forgiven))
  const skipped = union(second.skipped, without(first.skipped, second.passed))
  const passed = without(union(second.passed, first.passed), [...failed, ...skipped])
  return { result: { passed, failed, skipped }, unstable: forgiven.map(({ name }) => name) }
}

/** A failure of a whole file or group is made good by tests of it that pass while none fails. */
function isForgiven({ file, name }: FailedTest, second: GroupResult): boolean {
  const isWhole = file === '' || name === file
  const concerns = (test: TestName) =>
    isWhole ? file === '' || test.file === file : test.file === file && test.name === name
  return second.passed.some(concerns) && !second.failed.some(concerns)
}

const keyOf = ({ file, name }: TestName) => `${file}\0${name}`

function without<Test extends TestName>(tests: readonly Test[], others: readonly TestName[]): Test[] {
  const keys = new Set(others.map(keyOf))
  return tests.filter((test) => !keys.has(keyOf(test)))
}

/** Where both know a test, `tests` has the word. */
function union<Test extends TestName>(tests: readonly Test[], others: readonly Test[]): Test[] {
  return [...tests, ...without(others, tests)]
}

/** The last line of `./berth test`. */
export function summaryLine(results: readonly GroupResult[]): string {
  const passed = results.reduce((sum, result) => sum + result.passed.length, 0)
  const failed = results.reduce((sum, result) => sum + result.failed.length + result.skipped.length, 0)
  return `${passed} passed, ${failed} failed`
}
