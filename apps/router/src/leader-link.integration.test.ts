import { readFile } from 'node:fs/promises'
import { afterEach, expect, test } from 'vitest'
import { ask, eventually, startApp, startEdge } from './testing/edge.ts'
import { aHost, aReplica, aRevision, aSnapshot } from './testing/routes.ts'

const endings: (() => Promise<unknown> | void)[] = []
const atEnd = (ending: () => Promise<unknown> | void) => endings.push(ending)
afterEach(async () => {
  for (const ending of endings.splice(0).reverse()) await ending()
})

async function answering(text: string): Promise<number> {
  const app = await startApp((_request, response) => response.end(text))
  atEnd(() => app.close())
  return app.port
}

test('says hello, takes the table, acknowledges it and keeps it on disk', async () => {
  const edge = await startEdge()
  atEnd(() => edge.close())
  const { leader } = edge
  await eventually(() => leader.last('acknowledge'))
  expect(leader.last('hello')?.version).toBeUndefined()
  expect(leader.last('acknowledge')).toMatchObject({ version: { epoch: 1, sequence: 1 }, lingering: [] })
  await eventually(async () => {
    const text = await readFile(`${leader.folder}/routes.json`, 'utf8').catch(() => '{}')
    return (JSON.parse(text) as { version?: { sequence: number } }).version?.sequence === 1
  })
})

test('asks for the whole table when a change does not fit', async () => {
  const edge = await startEdge()
  atEnd(() => edge.close())
  const { leader } = edge
  leader.send({
    kind: 'delta',
    base: { epoch: 1, sequence: 7 },
    version: { epoch: 1, sequence: 8 },
    hosts: [],
    removedHosts: ['hello.localhost'],
    revisions: [],
    removedRevisions: [],
  })
  await eventually(() => leader.last('resync'))
  expect((await ask({ port: edge.port, host: 'gone.localhost' })).status).toBe(404)
})

test('ignores a table that is older than its own or of another installation', async () => {
  const revision = aRevision({ replicas: [aReplica('r1', await answering('still here'))] })
  const edge = await startEdge({ version: { epoch: 5, sequence: 5 }, revisions: [revision] })
  atEnd(() => edge.close())
  edge.leader.send(aSnapshot({ version: { epoch: 4, sequence: 9 }, hosts: [] }))
  edge.leader.send(aSnapshot({ version: { epoch: 6, sequence: 1 }, hosts: [], installation: 'other' }))
  const seen = edge.publish({ hosts: [aHost(), aHost({ host: 'more.localhost' })] })
  await eventually(() => edge.leader.last('acknowledge')?.version.sequence === seen.version.sequence)
  expect((await ask({ port: edge.port })).body).toBe('still here')
  const acknowledged = edge.leader.frames.filter((frame) => frame.kind === 'acknowledge')
  expect(acknowledged.every((frame) => frame.version.epoch === 5)).toBe(true)
})

test('passes over what only a newer leader says, with its frames and their fields', async () => {
  const edge = await startEdge()
  atEnd(() => edge.close())
  await eventually(() => edge.leader.last('acknowledge'))
  edge.leader.sendLine('{"kind":"weather","sunny":true}')
  const newer = { ...aSnapshot({ version: { epoch: 2, sequence: 1 }, hosts: [] }), season: 'winter' }
  edge.leader.sendLine(JSON.stringify(newer))
  await eventually(() => edge.leader.last('acknowledge')?.version.epoch === 2)
  expect(edge.leader.frames.filter(({ kind }) => kind === 'hello')).toHaveLength(1)
})

test('takes a table over although one replica in it has an address that cannot be asked', async () => {
  const good = aReplica('good', await answering('the good one'))
  const bad = { ...aReplica('bad'), address: 'fe80::1%eth0' }
  const edge = await startEdge()
  atEnd(() => edge.close())
  const { version } = edge.publish({
    revisions: [aRevision({ uid: 'rev-0', replicas: [bad] }), aRevision({ replicas: [bad, good] })],
  })
  await eventually(() => edge.leader.last('acknowledge')?.version.sequence === version.sequence)
  for (let i = 0; i < 2; i += 1) expect((await ask({ port: edge.port })).body).toBe('the good one')
  await eventually(() => edge.leader.last('replica-failed')?.replica === 'bad')
})

test('serves while the leader is away and greets the next one with its version', async () => {
  const revision = aRevision({ replicas: [aReplica('r1', await answering('served'))] })
  const edge = await startEdge({ revisions: [revision] })
  atEnd(() => edge.close())
  await edge.leader.stop()
  expect((await ask({ port: edge.port })).body).toBe('served')
  edge.leader.frames.splice(0)
  await edge.leader.start()
  const hello = await eventually(() => edge.leader.last('hello'))
  expect(hello.version).toEqual({ epoch: 1, sequence: 1 })
  await eventually(() => edge.leader.last('report'))
})

test('demand is repeated while a request waits', async () => {
  const edge = await startEdge()
  atEnd(() => edge.close())
  const waiting = ask({ port: edge.port })
  const demands = () => edge.leader.frames.filter((frame) => frame.kind === 'demand').length
  await eventually(() => demands() >= 3)
  edge.change(aRevision({ replicas: [aReplica('r1', await answering('woken'))] }))
  expect((await waiting).body).toBe('woken')
})

test('says goodbye when it ends', async () => {
  const edge = await startEdge()
  await edge.router.stop()
  await eventually(() => edge.leader.last('goodbye'))
  await edge.leader.close()
})
