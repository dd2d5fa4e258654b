import { redact, type ExplanationView, type ServiceUid } from '@berth/contracts'
import { desired, type Database } from '@berth/db'
import { notFound } from '../api-error.ts'
import type { ApiContext } from '../context.ts'
import { readEnvironment } from '../operations/revision-environment.ts'
import { serviceView } from '../operations/service-view.ts'
import { readReplicaLogs, requireWorker } from '../worker-client/replica-logs.ts'
import { explain, type FoundLines } from './explanation.ts'
import { linesOfTheForgotten, whoseLastWords } from './last-words.ts'

const lineCount = 20
/** For the worker and the engine behind it: an explanation is wanted now, with or without the lines. */
const linesDeadlineMs = 1_000

/** Why the service is as it is, within 2 s whatever is down beside the database. Throws `ApiError` not-found. */
export async function explainService(
  context: ApiContext,
  db: Database,
  about: { project: { uid: string; name: string }; service: string; origin: string; prefix: string },
): Promise<ExplanationView> {
  const picture = await desired.findService(db, about.project.uid, about.service)
  const facts = picture && (await desired.readExplanationFacts(db, picture.service.uid as ServiceUid))
  if (!picture || !facts) throw notFound('service', about.service)
  const { status, url } = serviceView(context, about.project.name, picture)
  const [condition] = status.conditions
  if (condition === undefined) throw new Error('a service has a condition')
  const { origin, prefix } = about
  return explain({
    facts,
    condition,
    lines: await findLines(context, db, facts),
    place: { origin, prefix, url },
  })
}

/** Those that were kept when the replica failed, else those that the worker reads now. */
async function findLines(
  context: ApiContext,
  db: Database,
  facts: desired.ExplanationFacts,
): Promise<FoundLines> {
  const last = whoseLastWords(facts)
  if (last === null) return { replica: null, lines: linesOfTheForgotten(facts), unavailable: null }
  const { replica, revisionUid, quoted } = last
  if (quoted.length > 0) return { replica, lines: quoted, unavailable: null }
  const env = await readEnvironment(context, db, revisionUid)
  // Without them nothing is shown that they would hide.
  if (env === null)
    return { replica, lines: [], unavailable: `The lines of ${replica} are not shown: its revision is gone.` }
  const lines = await readLines(context.controlSocket, replica)
  if (lines === null)
    return {
      replica,
      lines: [],
      unavailable: `The log lines of ${replica} are not available: no worker answers for them just now.`,
    }
  return { replica, lines: lines.map((line) => redact(line, env)), unavailable: null }
}

/** Null when no worker answers in time. */
async function readLines(controlSocket: string, replica: string): Promise<string[] | null> {
  const signal = AbortSignal.timeout(linesDeadlineMs)
  const lines: string[] = []
  try {
    await requireWorker(controlSocket)
    const query = { follow: false, previous: false, tail: lineCount }
    for await (const { line } of readReplicaLogs(controlSocket, replica, query, signal)) lines.push(line)
  } catch {
    return null
  }
  return signal.aborted && lines.length === 0 ? null : lines.slice(-lineCount)
}
