import { openPartition } from '../partition.ts'

/** A suite that has cut an address off and does nothing else: made to be killed. */
const [mark = '', address = ''] = process.argv.slice(2)
const partition = openPartition(mark)
await partition.cut(address)
process.send?.('cut')
setInterval(() => undefined, 60_000)
