import { createInterface } from 'node:readline'
import { routeSnapshot } from '@berth/contracts'
import { pino } from 'pino'
import { openRouterHub } from '../leader/router-hub.ts'

/*
 * A hub that leads with a table from its standard input, one snapshot a line, for routers in tests. Arguments: the path
 * of its socket and its epoch. Says "leading" once it does, and the routers that it knows whenever that changes.
 */
const [, , socketPath = '', epoch = '1'] = process.argv
const hub = await openRouterHub({
  socketPath,
  relay: { publish: () => undefined, onFrame: () => () => undefined },
  log: pino({ level: process.env['BERTH_LOG_LEVEL'] ?? 'silent' }),
})
hub.membership.onChange(() => {
  const routers = hub.membership.known().map(({ id }) => id)
  process.stdout.write(`${JSON.stringify({ routers })}\n`)
})
let table: ReturnType<typeof routeSnapshot.parse> | undefined
for await (const line of createInterface({ input: process.stdin })) {
  const next = routeSnapshot.parse(JSON.parse(line))
  if (table) {
    table = next
    hub.audience.broadcast(next)
    continue
  }
  table = next
  hub.lead({ epoch: Number(epoch), snapshot: () => table ?? next, onAhead: () => undefined })
  process.stdout.write('"leading"\n')
}
process.exit(0)
