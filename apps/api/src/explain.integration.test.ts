import { explanationView, type ExplanationView } from '@berth/contracts'
import { insertNode, insertReplica, insertRevision, insertService } from '@berth/db/testing'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, inject, test } from 'vitest'
import { startApi, type StartedApi } from './testing/started-api.ts'

let api: StartedApi
let folder: string
let controlSocket: string
let worker: Server | undefined
let node: { uid: string; name: string }

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'berth-explain-'))
  controlSocket = join(folder, 'c')
  api = await startApi(inject('postgresUrl'), { controlSocket })
  node = await insertNode(api.db, { name: 'n1' })
})
afterEach(async () => {
  const running = worker
  worker = undefined
  running?.closeAllConnections()
  if (running) await new Promise((resolve) => void running.close(resolve))
})
afterAll(async () => {
  await api.stop()
  await rm(folder, { recursive: true })
})

/** A stand-in for the worker: it answers with these lines, or never. */
async function aWorker(lines: string[] | 'hangs'): Promise<void> {
  const server = createServer((_request, response) => {
    if (lines === 'hangs') return
    response.writeHead(200, { 'content-type': 'application/x-ndjson' })
    for (const line of lines)
      response.write(`${JSON.stringify({ at: '2026-01-01T00:00:00Z', stream: 'stdout', line })}\n`)
    response.end()
  })
  await new Promise<void>((resolve) => void server.listen(controlSocket, resolve))
  worker = server
}

/** A service whose revision serves, with one replica that failed; its variables hold `env`. */
async function aFailingService(name: string, message: string, env: Record<string, string> = {}) {
  const service = await insertService(api.db, { name })
  const revision = await insertRevision(api.db, { serviceUid: service.uid, readyAt: new Date() })
  const sealed = api.context.keyring.seal(JSON.stringify(env), `revision:${revision.uid}:env`)
  await api.db.execute(
    `update revisions set env = '\\x${sealed.toString('hex')}' where uid = '${revision.uid}'`,
  )
  const replica = await insertReplica(api.db, {
    revisionUid: revision.uid,
    nodeUid: node.uid,
    state: 'failed',
    failedAt: new Date(),
    reason: 'AppCrashed',
    message,
  })
  const traffic = [{ revision: revision.name, percent: 100, tag: null }]
  const condition = {
    type: 'Ready',
    status: 'False',
    reason: 'AppCrashed',
    message,
    lastTransitionTime: new Date().toISOString(),
  }
  await api.db.execute(
    `update service_status set conditions = '${JSON.stringify([condition])}',
     traffic = '${JSON.stringify(traffic)}' where service_uid = '${service.uid}'`,
  )
  return { service, revision, replica }
}

async function explained(name: string): Promise<ExplanationView> {
  const answer = await api.call('GET', `/services/${name}/explain`)
  expect(answer.status, answer.text).toBe(200)
  return explanationView.strict().parse(answer.json())
}

test('the lines that were kept when the replica failed need no worker', async () => {
  const message = 'the app ended with exit code 139 (SIGSEGV); its last lines were:\nloading\nsegfault'
  const { replica } = await aFailingService('crasher', message)
  const view = await explained('crasher')
  expect(view).toMatchObject({
    service: 'crasher',
    ready: 'False',
    summary: 'crasher is not ready (AppCrashed): the app ended with exit code 139 (SIGSEGV).',
    lastLinesOf: replica.id,
    lastLines: ['loading', 'segfault'],
  })
  expect(view.findings).toContainEqual(
    expect.objectContaining({ about: 'replica', severity: 'error', node: 'n1', replica: replica.id }),
  )
  expect(view.next[0]?.command).toContain(`http://127.0.0.1:${api.port}/services/crasher/logs`)
})

test('else the worker reads them, and values of variables are kept out', async () => {
  await aWorker(['connecting with hunter2-hunter2', 'refused'])
  await aFailingService('talker', 'the app ended with exit code 1', { PASSWORD: 'hunter2-hunter2' })
  expect((await explained('talker')).lastLines).toEqual(['connecting with ***', 'refused'])
})

test.each(['is down', 'hangs'])('a worker that %s costs the lines and not the answer', async (how) => {
  if (how === 'hangs') await aWorker('hangs')
  const name = `quiet-${how.replace(' ', '-')}`
  const { replica } = await aFailingService(name, 'the app ended with exit code 1')
  const begun = performance.now()
  const view = await explained(name)
  expect(performance.now() - begun).toBeLessThan(5_000)
  expect(view.lastLines).toEqual([])
  expect(view.findings).toContainEqual({
    about: 'logs',
    severity: 'warning',
    message: `The log lines of ${replica.id} are not available: no worker answers for them just now.`,
  })
})

test('what a deployment failed on comes with the node of its last step', async () => {
  const { json } = await api.call('POST', '/services', {
    body: { name: 'unlucky', image: '127.0.0.1:5050/hello:1' },
  })
  const { id } = json<{ deployment: { id: string } }>().deployment
  await api.db.execute(
    `insert into deployment_events (deployment_id, phase, node, message)
     values ('${id}', 'placing', 'n0', 'placed'), ('${id}', 'pulling', 'n1', 'pulling'), ('${id}', 'failed', null, 'over')`,
  )
  await api.db.execute(
    `update deployments set phase = 'failed', reason = 'ImagePullFailed', message = 'no space left on device',
     finished_at = now() where id = '${id}'`,
  )
  expect((await explained('unlucky')).findings).toContainEqual(
    expect.objectContaining({
      about: 'deployment',
      severity: 'error',
      node: 'n1',
      message: `The last deployment that ended, ${id}, failed: ImagePullFailed, no space left on device.`,
    }),
  )
})

test('memory that replicas of other services have reserved counts', async () => {
  const { revision } = await aFailingService('too-big', 'the app ended with exit code 1')
  const full = await insertNode(api.db, { name: 'n2', pool: 'default' }, { memoryBytes: 512 * 1024 ** 2 })
  await api.db.execute(
    `update revisions set failure = '{"reason": "Unplaceable", "message": "none of 2 nodes fits"}',
     template = jsonb_set(template, '{containers,0,resources,memory}', '4000000000') where uid = '${revision.uid}'`,
  )
  const { findings } = await explained('too-big')
  expect(findings.filter(({ about }) => about === 'placement').map(({ message }) => message)).toEqual([
    expect.stringMatching(/^n1: memory 3814Mi asked, 3584Mi free$/),
    `${full.name}: memory 3814Mi asked, 0 free`,
  ])
})

test('a service that is not there is not explained', async () => {
  expect((await api.call('GET', '/services/nobody/explain')).status).toBe(404)
})
