import { pino } from 'pino'
import { createTableStore } from '../routes/table-store.ts'
import { aRevision, aSnapshot } from './routes.ts'

/** Keeps one table of some megabytes after the other in the file of its first argument, until it is killed. */
const store = createTableStore(process.argv[2] ?? '', pino({ level: 'silent' }))
const revisions = Array.from({ length: 20_000 }, (_, index) => aRevision({ uid: `rev-${index}` }))
for (let sequence = 2; ; sequence += 1) {
  store.keep(() => aSnapshot({ version: { epoch: 1, sequence }, revisions }))
  await store.settled()
  if (sequence === 2) process.stdout.write('kept\n')
}
