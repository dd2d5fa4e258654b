import { execFileSync } from 'node:child_process'
import { closeSync, openSync, readdirSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { expect, test } from 'vitest'
import { startApp, startEdge } from './testing/edge.ts'
import { aHost, aReplica, aRevision } from './testing/routes.ts'

function limitDescriptors(soft: string): void {
  execFileSync('prlimit', ['--pid', String(process.pid), `--nofile=${soft}:`])
}

/** Lets this process open nothing more while `during` runs. */
async function withoutDescriptors<Result>(during: () => Promise<Result>): Promise<Result> {
  const [soft = ''] = execFileSync('prlimit', [
    '--pid',
    String(process.pid),
    '--nofile',
    '-o',
    'SOFT',
    '--noheadings',
  ])
    .toString()
    .split('\n')
  // What is opened here makes room again for the process that puts the limit back.
  const spare = Array.from({ length: 16 }, () => openSync('/dev/null', 'r'))
  limitDescriptors(String(readdirSync('/proc/self/fd').length))
  while (true) {
    try {
      spare.push(openSync('/dev/null', 'r'))
    } catch {
      break
    }
  }
  try {
    return await during()
  } finally {
    spare.forEach((fd) => closeSync(fd))
    limitDescriptors(soft.trim())
  }
}

test('a router without a free descriptor blames no replica for it', async () => {
  const app = await startApp((_request, response) => response.end('well'))
  const edge = await startEdge({
    hosts: [aHost(), aHost({ host: 'other.localhost', targets: [{ revision: 'rev-2', percent: 100 }] })],
    revisions: [
      aRevision({ replicas: [aReplica('r1', app.port)] }),
      aRevision({ uid: 'rev-2', replicas: [aReplica('r2', app.port)] }),
    ],
  })
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  const get = (host: string) =>
    new Promise<number>((resolve, reject) => {
      const asked = request({ port: edge.port, host: '127.0.0.1', agent, headers: { host } }, (answer) => {
        answer.resume().once('end', () => resolve(answer.statusCode ?? 0))
      })
      asked.once('error', reject).end()
    })
  try {
    // The client's connection is there before the descriptors run out, the one to r1 is not.
    expect(await get('other.localhost')).toBe(200)
    expect(await withoutDescriptors(() => get('hello.localhost'))).toBe(502)
    expect(await get('hello.localhost')).toBe(200)
    expect(edge.leader.last('replica-failed')).toBeUndefined()
    expect(edge.leader.last('demand')).toBeUndefined()
  } finally {
    agent.destroy()
    await edge.close()
    await app.close()
  }
})
