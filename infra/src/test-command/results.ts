/** The part of vitest's JSON report that counts. */
export type VitestReport = {
  testResults: {
    name: string
    status: string
    message?: string
    assertionResults: { fullName: string; status: string; failureMessages?: string[] | null }[]
  }[]
}

/** `file` is empty for a failure of the whole group (no report, no test, an error outside tests). */
export type FailedTest = { file: string; name: string; messages: string[] }

export type GroupResult = {
  passed: number
  failed: FailedTest[]
  /** Skipped tests count as failures of the run: nothing is skipped silently. */
  skipped: string[]
}

/**
 * Counts a report. A file that could not be loaded or whose hooks failed has no failed test of its own; it
 * counts as one failure under its own name.
 */
export function readReport(report: VitestReport): GroupResult {
  const result: GroupResult = { passed: 0, failed: [], skipped: [] }
  for (const file of report.testResults) {
    const before = result.failed.length
    for (const { fullName, status, failureMessages } of file.assertionResults) {
      if (status === 'passed') result.passed += 1
      else if (status === 'failed')
        result.failed.push({ file: file.name, name: fullName, messages: failureMessages ?? [] })
      else result.skipped.push(fullName)
    }
    if (file.status === 'failed' && result.failed.length === before)
      result.failed.push({ file: file.name, name: file.name, messages: [file.message ?? 'no message'] })
  }
  return result
}

export type SecondRun = { result: GroupResult; unstable: string[] }

/**
 * Joins a group's run with the second run of its failed files. What passes only the second time counts as
 * passed and is named as unstable; what the second run did not reach again stays failed. When the group itself had
 * failed, everything was run again and the second run alone counts.
 */
export function joinSecondRun(first: GroupResult, second: GroupResult): SecondRun {
  const whole = first.failed.filter(({ file }) => file === '')
  if (whole.length > 0) {
    const unstable = second.failed.length === 0 ? whole.map(({ name }) => name) : []
    return { result: second, unstable }
  }
  const failedAgain = new Set(second.failed.map(({ name }) => name))
  const seenAgain = second.passed + second.failed.length > 0
  const unstable = first.failed
    .filter(({ name }) => seenAgain && !failedAgain.has(name))
    .map(({ name }) => name)
  const stillFailed = first.failed.filter(({ name }) => !unstable.includes(name))
  // A test that passed at first and failed the second time is a failure as well.
  const fresh = second.failed.filter(({ name }) => !first.failed.some((each) => each.name === name))
  const unskipped = first.skipped.filter((name) => second.skipped.includes(name) || !seenAgain)
  return {
    result: {
      passed: first.passed + unstable.length - fresh.length,
      failed: [...stillFailed, ...fresh],
      skipped: unskipped,
    },
    unstable,
  }
}

/** The last line of `./berth test`. */
export function summaryLine(results: readonly GroupResult[]): string {
  const passed = results.reduce((sum, { passed: count }) => sum + count, 0)
  const failed = results.reduce((sum, result) => sum + result.failed.length + result.skipped.length, 0)
  return `${passed} passed, ${failed} failed`
}
