import { okWith, startApp } from '../load/app.ts'
import { askWithWrk, type WrkRequest } from '../load/wrk.ts'
import type { RunningProxy } from '../proxies/proxy.ts'
import { inRounds, type Part, withProxies } from './bench.ts'
import { costOf, costTable } from './cost.ts'

/* What a request costs a proxy while clients ask on kept connections as fast as they are answered. */

const connections = 64
const concurrency = 80
const warmUpSeconds = 2
const megabyte = 1024 * 1024

const small = okWith(5)
const answers = new Map([
  ['/10k', okWith(10 * 1024)],
  ['/1m', okWith(megabyte)],
])

export const smallGet = requestsPart('Small GET', { path: '/' })
export const get10k = requestsPart('GET of 10 KB', { path: '/10k' })
export const get1m = requestsPart('GET of 1 MB', { path: '/1m' }, megabyte)
export const post10k = requestsPart('POST of 10 KB', { path: '/', postBytes: 10 * 1024 })

/** `bodyBytes`: throughput is shown too. */
function requestsPart(title: string, request: WrkRequest, bodyBytes?: number): Part {
  return {
    title: `${title}, ${connections} kept connections`,
    async run(bench) {
      const app = await startApp((path, answer) => answer(answers.get(path) ?? small))
      const ask = ({ port }: RunningProxy, seconds: number) =>
        askWithWrk(request, { port, connections, seconds })
      try {
        return await withProxies(bench, { replicaPorts: [app.port], concurrency }, async (proxies) => {
          for (const proxy of proxies) await ask(proxy, warmUpSeconds)
          const measured = await inRounds(bench.rounds, proxies, (proxy) =>
            costOf(proxy, () => ask(proxy, bench.seconds)),
          )
          return costTable(measured, 'request', bodyBytes)
        })
      } finally {
        app.close()
      }
    },
  }
}
