import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { startGrpcApp } from '../load/grpc-app.ts'
import { callWithH2load } from '../load/h2load.ts'
import { host, type RunningProxy } from '../proxies/proxy.ts'
import { inRounds, type Part, withProxies } from './bench.ts'
import { costOf, costTable } from './cost.ts'

/*
 * What a unary gRPC call costs a proxy, with HTTP/2 on both of its sides: a message of 64 bytes there, the same
 * and a trailer back, 8 connections with 8 calls under way on each.
 */

const connections = 8
const streams = 8
const concurrency = 80
const warmUpSeconds = 2
const payload = 'x'.repeat(64)
/** As gRPC frames it: no compression, then the length. */
const message = Buffer.concat([Buffer.from([0, 0, 0, 0, payload.length]), Buffer.from(payload)])
const headers = [`:authority: ${host}`, 'Content-Type: application/grpc', 'TE: trailers', 'User-Agent: bench']

export const grpcUnary: Part = {
  title: `Unary gRPC, ${connections} connections with ${streams} calls each`,
  async run(bench) {
    const bodyFile = join(bench.folder, 'grpc-message')
    await writeFile(bodyFile, message)
    const app = await startGrpcApp(message)
    const call = ({ port }: RunningProxy, seconds: number) =>
      callWithH2load({
        url: `http://127.0.0.1:${port}/bench.Echo/Say`,
        headers,
        bodyFile,
        connections,
        streams,
        seconds,
      })
    try {
      const place = { replicaPorts: [app.port], concurrency, needs: 'h2c' } as const
      return await withProxies(bench, place, async (proxies) => {
        for (const proxy of proxies) await call(proxy, warmUpSeconds)
        const measured = await inRounds(bench.rounds, proxies, (proxy) =>
          costOf(proxy, () => call(proxy, bench.seconds)),
        )
        return costTable(measured, 'call')
      })
    } finally {
      app.close()
    }
  },
}
