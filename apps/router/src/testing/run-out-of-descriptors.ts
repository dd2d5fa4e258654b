import { closeSync, existsSync, openSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { eventually, startApp, startEdge } from './edge.ts'
import { aHost, aReplica, aRevision } from './routes.ts'

/*
 * A router that runs out of descriptors, in a process that may have few of them and does nothing else. Prints the
 * statuses that its client saw and what the leader was told.
 */

/** Takes every descriptor that is left while `during` runs. */
async function withoutDescriptors<Result>(during: () => Promise<Result>): Promise<Result> {
  const taken: number[] = []
  while (true) {
    try {
      taken.push(openSync('/dev/null', 'r'))
    } catch {
      break
    }
  }
  try {
    return await during()
  } finally {
    taken.forEach((fd) => closeSync(fd))
  }
}

const app = await startApp((_request, response) => response.end('well'))
const edge = await startEdge({
  hosts: [aHost(), aHost({ host: 'other.localhost', targets: [{ revision: 'rev-2', percent: 100 }] })],
  revisions: [
    aRevision({ replicas: [aReplica('r1', app.port)] }),
    aRevision({ uid: 'rev-2', replicas: [aReplica('r2', app.port)] }),
  ],
})
const agent = new Agent({ keepAlive: true, maxSockets: 1 })

function get(host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const asked = request({ port: edge.port, host: '127.0.0.1', agent, headers: { host } }, (answer) => {
      answer.resume().once('end', () => resolve(answer.statusCode ?? 0))
    })
    asked.once('error', reject).end()
  })
}

// The file of the table is closed, so that nobody gives a descriptor back at the wrong moment.
await eventually(() => existsSync(`${edge.leader.folder}/routes.json`))
// The client's connection is there before the descriptors run out, the one to r1 is not.
const statuses = [
  await get('other.localhost'),
  await withoutDescriptors(() => get('hello.localhost')),
  await get('hello.localhost'),
]
const told = edge.leader.frames.map(({ kind }) => kind)
process.stdout.write(`${JSON.stringify({ statuses, told })}\n`)
process.exit(0)
