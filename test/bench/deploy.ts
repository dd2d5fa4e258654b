import { execFile } from 'node:child_process'
import { request } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import { callHttp } from '../../infra/src/http-call.ts'
import { askEdge } from '../support/edge.ts'
import { startEngines, type EngineConnection } from '../support/engines.ts'
import { connectPlatform, startPlatform, type Platform } from '../support/platform.ts'
import { until } from '../support/poll.ts'
import { claimSlot } from '../support/slot.ts'
import { median } from './statistics.ts'

/*
 * How long it takes until something answers, Berth beside the plain engine in one run:
 *
 *   docker run    `docker run -d` of the same image and a connect loop
 *   engine        the same two calls through the Engine API, without the command around them
 *   POST          POST /services to the first 200 from its URL
 *   parked, cold  the request that wakes it, sent to last byte
 *   frozen        the same, against the bare unpause call
 *
 * Medians of `rounds`. `node test/bench/deploy.ts [rounds] [rest in ms before each start]`.
 */

const runProgram = promisify(execFile)
const rounds = Number(process.argv[2] ?? 10)
const restMs = Number(process.argv[3] ?? 2000)

async function timed(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now()
  await work()
  return performance.now() - started
}

async function engineCall(
  engine: EngineConnection,
  method: string,
  path: string,
  body?: unknown,
): Promise<string> {
  const answer = await callHttp({
    target: { socketPath: engine.socketPath },
    method,
    path,
    headers: { 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    timeoutMs: 60_000,
  })
  if (answer.status >= 400) throw new Error(`${method} ${path}: ${answer.status} ${answer.body}`)
  return answer.body
}

type Started = { ms: number; id: string }

/** Tries until the app answers an HTTP request, as a connect loop in a shell would. */
async function firstAnswer(host: string, port: number): Promise<void> {
  for (;;) {
    const answered = await new Promise<boolean>((resolve) => {
      const asked = request({ host, port, path: '/', agent: false }, (response) => {
        response.resume()
        response.once('end', () => resolve(true))
      })
      asked.once('error', () => resolve(false))
      asked.end()
    })
    if (answered) return
    await delay(2)
  }
}

async function dockerRun(engine: EngineConnection, image: string, port: number): Promise<Started> {
  let id = ''
  const publish = `${engine.address}:${port}:8080`
  const command = [
    '--host',
    `unix://${engine.socketPath}`,
    'run',
    '-d',
    '-e',
    'PORT=8080',
    '-p',
    publish,
    image,
  ]
  const ms = await timed(async () => {
    id = (await runProgram('docker', command)).stdout.trim()
    await firstAnswer(engine.address, port)
  })
  return { ms, id }
}

async function engineRun(engine: EngineConnection, image: string, port: number): Promise<Started> {
  let id = ''
  const ms = await timed(async () => {
    const spec = {
      Image: image,
      Env: ['PORT=8080'],
      ExposedPorts: { '8080/tcp': {} },
      HostConfig: { PortBindings: { '8080/tcp': [{ HostIp: engine.address, HostPort: String(port) }] } },
    }
    const created = await engineCall(engine, 'POST', '/containers/create', spec)
    id = (JSON.parse(created) as { Id: string }).Id
    await engineCall(engine, 'POST', `/containers/${id}/start`)
    await firstAnswer(engine.address, port)
  })
  return { ms, id }
}

async function imageOnNode(engine: EngineConnection): Promise<string> {
  const images = JSON.parse(await engineCall(engine, 'GET', '/images/json')) as {
    Id: string
    RepoTags: string[] | null
    RepoDigests: string[] | null
  }[]
  const found = images.find((each) => JSON.stringify([each.RepoTags, each.RepoDigests]).includes('test-app'))
  if (!found) throw new Error('the node has no test image')
  return found.Id
}

const ask = (platform: Platform, service: string) =>
  askEdge(platform.connection.ports.edge, { host: platform.host(service), timeoutMs: 60_000 }).then(
    (answer) => {
      if (answer.status !== 200) throw new Error(`${service}: ${answer.status} ${answer.text()}`)
    },
  )

const rungIs = (platform: Platform, service: string, wanted: string) =>
  until(async () => ((await platform.replicas(service))[0]?.rung ?? 'cold') === wanted, {
    timeoutMs: 90_000,
    describe: `${service} to be ${wanted}`,
  })

async function measure(platform: Platform, engine: EngineConnection) {
  const results = {
    run: [] as number[],
    engine: [] as number[],
    post: [] as number[],
    answer: [] as number[],
    parked: [] as number[],
  }
  const more = { cold: [] as number[], frozen: [] as number[], unpause: [] as number[] }
  const idle = (freeze: number | string, park: number | string, cold: number | string) => ({
    freezeAfterSeconds: freeze,
    parkAfterSeconds: park,
    coldAfterSeconds: cold,
  })
  const never = 'never'
  await platform.deploy('bench-warm-up')
  await ask(platform, 'bench-warm-up')
  const image = await imageOnNode(engine)
  await platform.deploy('bench-parked', { idle: idle(never, 1, never) })
  await platform.deploy('bench-cold', { idle: idle(never, 1, 2) })
  await platform.deploy('bench-frozen', { idle: idle(1, never, never) })

  for (let round = 0; round < rounds; round += 1) {
    await delay(restMs)
    const run = await dockerRun(engine, image, 31_000 + round)
    results.run.push(run.ms)
    await delay(restMs)
    const bare = await engineRun(engine, image, 32_000 + round)
    results.engine.push(bare.ms)
    await engineCall(engine, 'DELETE', `/containers/${bare.id}?force=true`)
    await engineCall(engine, 'POST', `/containers/${run.id}/pause`)
    more.unpause.push(await timed(() => engineCall(engine, 'POST', `/containers/${run.id}/unpause`)))
    await engineCall(engine, 'DELETE', `/containers/${run.id}?force=true`)

    await delay(restMs)
    const name = `bench-${round}-new`
    const body = { name, image: platform.connection.testImage, memory: '128Mi' }
    results.post.push(
      await timed(async () => {
        results.answer.push(await timed(() => platform.expectApi([202], 'POST', '/services', body)))
        for (;;) {
          const answer = await askEdge(platform.connection.ports.edge, { host: platform.host(name) })
          if (answer.status === 200) return
          await delay(2)
        }
      }),
    )
    await platform.remove(name)

    await rungIs(platform, 'bench-parked', 'parked')
    await delay(restMs)
    results.parked.push(await timed(() => ask(platform, 'bench-parked')))
    await rungIs(platform, 'bench-cold', 'cold')
    await delay(restMs)
    more.cold.push(await timed(() => ask(platform, 'bench-cold')))
    await rungIs(platform, 'bench-frozen', 'frozen')
    more.frozen.push(await timed(() => ask(platform, 'bench-frozen')))
  }
  return { ...results, ...more }
}

function print(figures: Awaited<ReturnType<typeof measure>>): void {
  const run = median(figures.run)
  const engine = median(figures.engine)
  const unpause = median(figures.unpause)
  const rows: [string, number, number][] = [
    ['POST to first 200', median(figures.post), 1.5],
    ['wake from parked', median(figures.parked), 0.6],
    ['wake from cold', median(figures.cold), 1.4],
  ]
  console.log(`\n${rounds} rounds, ${restMs} ms of rest before each start`)
  console.log(
    `docker run to first answer   ${run.toFixed(0)} ms (through the Engine API ${engine.toFixed(0)} ms)`,
  )
  console.log(`bare unpause                 ${unpause.toFixed(1)} ms`)
  console.log(`answer to POST               ${median(figures.answer).toFixed(1)} ms (limit 50)`)
  const verdict = (ratio: number, limit: number) => `limit ${limit}, ${ratio <= limit ? 'within' : 'OVER'}`
  const figure = (what: string, ms: number) => `${what.padEnd(28)} ${ms.toFixed(1).padStart(7)} ms`
  for (const [what, ms, limit] of rows) {
    const ratio = ms / run
    console.log(
      `${figure(what, ms)}   ${ratio.toFixed(2)} x docker run (${verdict(ratio, limit)}), ` +
        `${(ms / engine).toFixed(2)} x its calls`,
    )
  }
  const frozen = median(figures.frozen)
  const ratio = frozen / unpause
  console.log(
    `${figure('wake from frozen', frozen)}   ${ratio.toFixed(2)} x bare unpause (${verdict(ratio, 2.5)})`,
  )
}

const slot = await claimSlot()
const engines = await startEngines(slot, 1)
try {
  const [engine] = engines
  if (!engine) throw new Error('no engine')
  const started = await startPlatform(slot, [engine.connection])
  try {
    print(await measure(connectPlatform(started.connection), engine.connection))
  } finally {
    await started.stop()
  }
} finally {
  for (const engine of engines) await engine.stop()
  await slot.release()
}
