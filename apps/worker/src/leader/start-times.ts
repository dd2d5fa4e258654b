import type { RevisionUid, Rung } from '@berth/contracts'
import { writeStartTimes } from '@berth/db'
import type { RowWriter } from './row-writer.ts'
import type { Picture } from './world.ts'

/** How much a new measurement counts. */
const smoothing = 0.3

/** What starts of revisions take from each rung, in ms: smoothed, in the picture, and written behind. */
export type StartTimes = { note(revision: RevisionUid, from: 'cold' | Rung, ms: number): void }

export function createStartTimes(options: {
  picture: Pick<Picture, 'revisions' | 'updateRevision'>
  writer: Pick<RowWriter, 'write'>
}): StartTimes {
  const { picture, writer } = options
  return {
    note(uid, from, ms) {
      const revision = picture.revisions.get(uid)
      if (revision === undefined || from === 'running') return
      const before = revision.startMs[from]
      const smooth = Math.round(before === undefined ? ms : before + (ms - before) * smoothing)
      const startMs = { ...revision.startMs, [from]: smooth }
      picture.updateRevision(uid, { startMs })
      writer.write(uid, 'start times', (db, lease) => writeStartTimes(db, lease, uid, startMs))
    },
  }
}
