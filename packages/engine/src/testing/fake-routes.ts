import { randomBytes } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { extract } from 'tar-stream'
import type { CreateBody } from '../container-spec.ts'
import { waitingProgram } from '../held-start/hold-program.ts'
import { holdPath } from '../held-start/held-start.ts'
import { inspectAnswer, isUp, listEntry, sandboxIdOf, type FakeContainer } from './fake-container.ts'
import { type FakeEngineState, type FakeEvent, Refusal } from './fake-engine-state.ts'

/** A call as a route sees it; `parts` are what the stars of its pattern matched. */
type FakeCall = {
  parts: string[]
  query: URLSearchParams
  body: Buffer
  request: IncomingMessage
  response: ServerResponse
}

/** An answer to send as JSON, or undefined when the route has answered by itself. */
export type FakeAnswer = { status: number; body?: unknown } | undefined

type Route = (state: FakeEngineState, call: FakeCall) => FakeAnswer | Promise<FakeAnswer>

const execs = new Map<string, { sandbox: string; command: readonly string[] }>()

/** Method and path pattern to what the engine does; the first that matches is taken. */
export const fakeRoutes: readonly [string, RegExp, Route][] = [
  ['POST', /^\/containers\/create$/, create],
  ['GET', /^\/containers\/json$/, listContainers],
  ['GET', /^\/containers\/([^/]+)\/json$/, (state, { parts }) => ok(inspectAnswer(at(state, parts)))],
  [
    'POST',
    /^\/containers\/([^/]+)\/start$/,
    (state, { parts }) => status(state.start(at(state, parts)) ? 204 : 304),
  ],
  ['POST', /^\/containers\/([^/]+)\/pause$/, onContainer((state, container) => state.pause(container))],
  ['POST', /^\/containers\/([^/]+)\/unpause$/, onContainer((state, container) => state.unpause(container))],
  ['POST', /^\/containers\/([^/]+)\/stop$/, stop],
  ['POST', /^\/containers\/([^/]+)\/kill$/, kill],
  ['POST', /^\/containers\/([^/]+)\/rename$/, rename],
  ['POST', /^\/containers\/([^/]+)\/exec$/, createExec],
  ['POST', /^\/exec\/([^/]+)\/start$/, startExec],
  ['GET', /^\/containers\/([^/]+)\/logs$/, readLog],
  ['GET', /^\/containers\/([^/]+)\/stats$/, stats],
  ['DELETE', /^\/containers\/([^/]+)$/, onContainer((state, container) => state.remove(container))],
  ['GET', /^\/networks$/, listNetworks],
  ['POST', /^\/networks\/create$/, createNetwork],
  ['DELETE', /^\/networks\/([^/]+)$/, removeNetwork],
  ['POST', /^\/volumes\/create$/, createVolume],
  ['GET', /^\/volumes\/([^/]+)$/, inspectVolume],
  ['DELETE', /^\/volumes\/([^/]+)$/, removeVolume],
  ['GET', /^\/containers\/([^/]+)\/archive$/, readArchive],
  ['HEAD', /^\/containers\/([^/]+)\/archive$/, statPath],
  ['PUT', /^\/containers\/([^/]+)\/archive$/, writeArchive],
  ['POST', /^\/images\/create$/, pullImage],
  ['POST', /^\/images\/load$/, loadImage],
  ['POST', /^\/build$/, buildImage],
  ['GET', /^\/images\/json$/, listImages],
  ['GET', /^\/images\/(.+)\/json$/, inspectImage],
  ['GET', /^\/images\/(.+)\/get$/, saveImage],
  ['POST', /^\/images\/(.+)\/tag$/, tagImage],
  ['DELETE', /^\/images\/(.+)$/, removeImage],
  ['GET', /^\/events$/, followEvents],
]

const ok = (body: unknown): FakeAnswer => ({ status: 200, body })
const status = (code: number): FakeAnswer => ({ status: code })

function onContainer(act: (state: FakeEngineState, container: FakeContainer) => void): Route {
  return (state, { parts }) => {
    act(state, at(state, parts))
    return { status: 204 }
  }
}

function at(state: FakeEngineState, parts: string[]): FakeContainer {
  return state.find(parts[0] ?? '')
}

function create(state: FakeEngineState, { query, body }: FakeCall): FakeAnswer {
  const spec = JSON.parse(body.toString()) as CreateBody
  return { status: 201, body: { Id: state.create(query.get('name') ?? '', spec).id, Warnings: [] } }
}

function listContainers(state: FakeEngineState, { query }: FakeCall): FakeAnswer {
  const all = [...state.containers.values()].filter((each) => query.has('all') || isUp(each))
  const volumes = filtersOf(query).volume
  const mounts = ({ body }: FakeContainer) => (body.HostConfig.Mounts ?? []).map(({ Source }) => Source)
  const found = all
    .filter((each) => hasLabels(each.body.Labels, query))
    .filter((each) => volumes === undefined || mounts(each).some((name) => volumes.includes(name)))
  return ok(found.map(listEntry))
}

async function stop(state: FakeEngineState, { parts, query }: FakeCall): Promise<FakeAnswer> {
  const container = at(state, parts)
  if (!isUp(container)) return status(304)
  const stubborn = state.ignoresSigterm(container)
  if (stubborn) await endOrGrace(state, container, Number(query.get('t') ?? 10) * 1000)
  state.exit(container, { exitCode: stubborn ? 137 : 143 })
  return status(204)
}

/** Until somebody has killed it, or the grace is over. */
async function endOrGrace(state: FakeEngineState, container: FakeContainer, graceMs: number): Promise<void> {
  const ended = new AbortController()
  const listener = ({ action, id }: { action: string; id: string }) => {
    if (action === 'die' && id === container.id) ended.abort()
  }
  state.listeners.add(listener)
  await delay(graceMs, undefined, { signal: ended.signal }).catch(() => {})
  state.listeners.delete(listener)
}

function kill(state: FakeEngineState, { parts, query }: FakeCall): FakeAnswer {
  const container = at(state, parts)
  if (!isUp(container)) throw new Refusal(409, `Container ${container.id} is not running`)
  if (query.get('signal') === 'SIGCONT') state.continue(container)
  else state.exit(container, { exitCode: 137 })
  return status(204)
}

function rename(state: FakeEngineState, { parts, query }: FakeCall): FakeAnswer {
  const name = query.get('name') ?? ''
  const container = at(state, parts)
  if ([...state.containers.values()].some((each) => each.name === name))
    throw new Refusal(409, `Conflict. The container name "/${name}" is already in use.`)
  container.name = name
  return status(204)
}

function createExec(state: FakeEngineState, { parts, body }: FakeCall): FakeAnswer {
  const container = at(state, parts)
  if (container.status !== 'running') throw new Refusal(409, `Container ${container.id} is not running`)
  const id = randomBytes(32).toString('hex')
  const { Cmd } = JSON.parse(body.toString()) as { Cmd: string[] }
  execs.set(id, { sandbox: container.id, command: Cmd })
  return { status: 201, body: { Id: id } }
}

/** What is run in a sandbox reads its disk, or a table of its sockets. */
function startExec(state: FakeEngineState, { parts, response }: FakeCall): FakeAnswer {
  const exec = execs.get(parts[0] ?? '')
  const sandbox = state.find(exec?.sandbox ?? '')
  response.writeHead(200, { 'content-type': 'application/vnd.docker.raw-stream' })
  response.end(frame(outputOf(state, exec?.command ?? [], sandbox)))
  return undefined
}

function outputOf(state: FakeEngineState, command: readonly string[], sandbox: FakeContainer): string {
  if (command.includes('df')) return diskTable(state)
  return command.includes('/proc/net/unix') ? unixTable(state, sandbox) : socketTable(state, sandbox)
}

function unixTable(state: FakeEngineState, sandbox: FakeContainer): string {
  const held = [...state.containers.values()].filter((each) => each.held && sandboxIdOf(each) === sandbox.id)
  const lines = held.map(() => '0000000000000000: 00000002 00000000 00000000 0002 01 77 @berth-held\n')
  return `Num       RefCount Protocol Flags    Type St Inode Path\n${lines.join('')}`
}

function diskTable({ disk }: FakeEngineState): string {
  const [used, free] = [disk.totalBytes - disk.freeBytes, disk.freeBytes].map((bytes) =>
    Math.round(bytes / 1024),
  )
  return `Filesystem 1024-blocks Used Available Capacity Mounted on\noverlay 999999 ${used} ${free} 24% /\n`
}

function socketTable(state: FakeEngineState, sandbox: FakeContainer): string {
  const lines = state.listeningPorts(sandbox).map((port, at) => {
    const hex = port.toString(16).toUpperCase().padStart(4, '0')
    return `   ${at}: 00000000:${hex} 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1\n`
  })
  return `  sl  local_address rem_address   st\n${lines.join('')}`
}

function readLog(state: FakeEngineState, { parts, query, response }: FakeCall): FakeAnswer {
  const { log } = at(state, parts)
  const tail = Number(query.get('tail') ?? log.length)
  const since = Number(query.get('since') ?? 0) * 1000
  const until = Number(query.get('until') ?? Infinity) * 1000
  response.writeHead(200, { 'content-type': 'application/vnd.docker.raw-stream' })
  // As the engine does: the tail of the whole log first, then what of it lies in the time that was asked for.
  const lines = tail === 0 ? [] : log.slice(-tail)
  for (const { at, line } of lines.filter(({ at }) => at.getTime() >= since && at.getTime() < until))
    response.write(frame(`${at.toISOString()} ${line}\n`))
  response.end()
  return undefined
}

function stats(): FakeAnswer {
  return ok({
    read: new Date().toISOString(),
    cpu_stats: { cpu_usage: { total_usage: 1_000_000 } },
    memory_stats: { usage: 2_000_000, stats: { total_inactive_file: 500_000 } },
    pids_stats: { current: 1 },
  })
}

function listNetworks(state: FakeEngineState, { query }: FakeCall): FakeAnswer {
  const names = filtersOf(query).name
  const found = [...state.networks.values()].filter(
    (network) =>
      hasLabels(network.labels, query) &&
      (names === undefined || names.some((name) => network.name.includes(name))),
  )
  return ok(
    found.map(({ id, name, subnet, labels }) => ({
      Id: id,
      Name: name,
      Labels: labels,
      IPAM: { Config: [{ Subnet: subnet }] },
    })),
  )
}

function createNetwork(state: FakeEngineState, { body }: FakeCall): FakeAnswer {
  const asked = JSON.parse(body.toString()) as {
    Name: string
    Labels: Record<string, string>
    IPAM: { Config: { Subnet: string }[] }
  }
  const subnet = asked.IPAM.Config[0]?.Subnet ?? ''
  if (state.networks.has(asked.Name)) throw new Refusal(409, `network with name ${asked.Name} already exists`)
  if ([...state.networks.values()].some((network) => network.subnet === subnet))
    throw new Refusal(403, 'Pool overlaps with other one on this address space')
  const id = randomBytes(32).toString('hex')
  state.networks.set(asked.Name, { id, name: asked.Name, subnet, labels: asked.Labels })
  return { status: 201, body: { Id: id } }
}

function removeNetwork(state: FakeEngineState, { parts }: FakeCall): FakeAnswer {
  const name = parts[0] ?? ''
  if (!state.networks.has(name)) throw new Refusal(404, `network ${name} not found`)
  const used = [...state.containers.values()].some(
    (each) => isUp(each) && each.body.HostConfig.NetworkMode === name,
  )
  if (used) throw new Refusal(403, `error while removing network: network ${name} has active endpoints`)
  state.networks.delete(name)
  return status(204)
}

function createVolume(state: FakeEngineState, { body }: FakeCall): FakeAnswer {
  const asked = JSON.parse(body.toString()) as { Name: string; Labels: Record<string, string> }
  const labels = state.volumes.get(asked.Name) ?? asked.Labels
  state.volumes.set(asked.Name, labels)
  return { status: 201, body: { Name: asked.Name, Labels: labels } }
}

function inspectVolume(state: FakeEngineState, { parts }: FakeCall): FakeAnswer {
  const name = parts[0] ?? ''
  const labels = state.volumes.get(name)
  if (labels === undefined) throw new Refusal(404, `get ${name}: no such volume`)
  return ok({ Name: name, Labels: labels })
}

function removeVolume(state: FakeEngineState, { parts }: FakeCall): FakeAnswer {
  const name = parts[0] ?? ''
  if (!state.volumes.has(name)) throw new Refusal(404, `get ${name}: no such volume`)
  const user = [...state.containers.values()].find((each) =>
    each.body.HostConfig.Mounts?.some(({ Source }) => Source === name),
  )
  if (user) throw new Refusal(409, `remove ${name}: volume is in use - [${user.id}]`)
  state.volumes.delete(name)
  return status(204)
}

/** Only volumes have content here; a container mounts one at the most. */
function volumeOf(state: FakeEngineState, parts: string[]): string {
  return at(state, parts).body.HostConfig.Mounts?.[0]?.Source ?? ''
}

async function readArchive(state: FakeEngineState, { parts, response }: FakeCall): Promise<FakeAnswer> {
  const archive = state.archives.get(volumeOf(state, parts)) ?? (() => Readable.from([Buffer.alloc(1024)]))
  response.writeHead(200, { 'content-type': 'application/x-tar' })
  response.flushHeaders()
  await pipeline(archive(), response).catch(() => response.destroy())
  return undefined
}

function statPath(state: FakeEngineState, { query, response }: FakeCall): FakeAnswer {
  const linkTarget = state.links.get(query.get('path') ?? '') ?? ''
  const stat = Buffer.from(JSON.stringify({ linkTarget })).toString('base64')
  response.writeHead(200, { 'x-docker-container-path-stat': stat }).end()
  return undefined
}

async function writeArchive(state: FakeEngineState, { parts, query, body }: FakeCall): Promise<FakeAnswer> {
  const volume = volumeOf(state, parts)
  const files = await filesOf(body).catch(() => {
    throw new Refusal(500, 'Error processing tar file(exit status 1): archive/tar: invalid tar header')
  })
  const hold = files.get(holdPath.slice(1))
  if (hold !== undefined) at(state, parts).hold = hold.equals(waitingProgram) ? 'waiting' : 'passing'
  // From above comes only who may do what with the volume.
  if (query.get('path') !== '/') state.archives.set(volume, () => Readable.from([body]))
  return status(200)
}

function pullImage(state: FakeEngineState, { query, response }: FakeCall): FakeAnswer {
  const tag = query.get('tag') ?? ''
  const reference = `${query.get('fromImage') ?? ''}${tag.includes(':') ? '@' : ':'}${tag}`
  const remote = state.remoteImages.get(reference)
  if (remote === undefined) throw new Refusal(404, `manifest for ${reference} not found: manifest unknown`)
  const { references: _references, ...about } = remote
  state.addImage(reference, about)
  state.tellImage('pull', reference)
  const lines: object[] = [
    { status: 'Pulling from somewhere' },
    { id: 'layer', status: 'Downloading', progressDetail: { current: 5, total: 10 } },
    { status: `Digest: ${tag}` },
  ]
  const failure = state.brokenPulls.shift()
  if (typeof failure === 'object') lines.splice(2, 1, { error: failure.message, errorDetail: failure })
  response.writeHead(200, { 'content-type': 'application/json' })
  response.write(lines.map((line) => `${JSON.stringify(line)}\r\n`).join(''))
  if (failure !== 'stalls') response.end()
  return undefined
}

async function loadImage(state: FakeEngineState, { body }: FakeCall): Promise<FakeAnswer> {
  const files = await filesOf(body)
  const manifest = JSON.parse(files.get('manifest.json')?.toString() ?? '[]') as {
    Config: string
    RepoTags: string[] | null
  }[]
  const lines = manifest.map(({ Config, RepoTags }) => {
    const config = JSON.parse(files.get(Config)?.toString() ?? '{}') as {
      architecture?: string
      config?: { User?: string }
    }
    const id = `sha256:${/[0-9a-f]{64}/.exec(Config)?.[0] ?? ''}`
    const about = { id, architecture: config.architecture ?? 'amd64', user: config.config?.User ?? '' }
    for (const tag of RepoTags ?? [id]) state.addImage(tag, about)
    return { stream: `Loaded image: ${RepoTags?.[0] ?? id}\n` }
  })
  return lines.length === 0 ? ok({ stream: '' }) : ok(lines[0])
}

function buildImage(state: FakeEngineState, { query }: FakeCall): FakeAnswer {
  const { id } = state.addImage(query.get('t') ?? '')
  return ok({ aux: { ID: id } })
}

function listImages(state: FakeEngineState): FakeAnswer {
  return ok(
    [...state.images.values()].map(({ id, references }) => ({
      Id: id,
      RepoTags: [...references].filter((reference) => !reference.includes('@')),
      RepoDigests: [...references].filter((reference) => reference.includes('@')),
    })),
  )
}

function inspectImage(state: FakeEngineState, { parts }: FakeCall): FakeAnswer {
  const image = state.findImage(parts[0] ?? '')
  const references = [...image.references]
  return ok({
    Id: image.id,
    Architecture: image.architecture,
    Os: 'linux',
    Size: image.sizeBytes,
    RepoTags: references.filter((reference) => !reference.includes('@')),
    RepoDigests: references.filter((reference) => reference.includes('@')),
    Config: {
      User: image.user,
      ExposedPorts: Object.fromEntries(image.exposedPorts.map((port) => [port, {}])),
      Entrypoint: null,
      Cmd: ['app'],
      WorkingDir: '',
    },
  })
}

function saveImage(state: FakeEngineState, { parts, response }: FakeCall): FakeAnswer {
  state.findImage(parts[0] ?? '')
  response.writeHead(200, { 'content-type': 'application/x-tar' })
  response.end(Buffer.alloc(1024))
  return undefined
}

function tagImage(state: FakeEngineState, { parts, query }: FakeCall): FakeAnswer {
  state.findImage(parts[0] ?? '').references.add(`${query.get('repo')}:${query.get('tag')}`)
  return status(201)
}

function removeImage(state: FakeEngineState, { parts }: FakeCall): FakeAnswer {
  const reference = parts[0] ?? ''
  const image = state.findImage(reference)
  if ([...state.containers.values()].some((each) => each.imageId === image.id && image.references.size === 1))
    throw new Refusal(409, `conflict: unable to remove repository reference "${reference}"`)
  image.references.delete(reference)
  if (image.references.size === 0 || reference === image.id) state.removeImage(image)
  return ok([{ Untagged: reference }])
}

function followEvents(state: FakeEngineState, { query, response }: FakeCall): FakeAnswer {
  response.writeHead(200, { 'content-type': 'application/json' })
  response.flushHeaders()
  const listener = (event: FakeEvent) => {
    const line = {
      Type: event.type,
      Action: event.action,
      Actor: { ID: event.id, Attributes: event.labels },
      time: Math.floor(event.at / 1000),
      timeNano: event.at * 1_000_000,
    }
    response.write(`${JSON.stringify(line)}\n`)
  }
  const since = Math.round(Number(query.get('since') ?? Date.now() / 1000) * 1000)
  state.eventsSince.push(since)
  for (const event of state.events) if (event.at >= since) listener(event)
  state.listeners.add(listener)
  response.on('close', () => state.listeners.delete(listener))
  return undefined
}

type Filters = { label?: string[]; name?: string[]; volume?: string[] }

function filtersOf(query: URLSearchParams): Filters {
  return JSON.parse(query.get('filters') ?? '{}') as Filters
}

function hasLabels(labels: Record<string, string>, query: URLSearchParams): boolean {
  return (filtersOf(query).label ?? []).every((wanted) => {
    const [name = '', value] = wanted.split('=')
    return value === undefined ? name in labels : labels[name] === value
  })
}

function frame(text: string): Buffer {
  const payload = Buffer.from(text)
  const header = Buffer.alloc(8)
  header.writeUInt8(1, 0)
  header.writeUInt32BE(payload.length, 4)
  return Buffer.concat([header, payload])
}

async function filesOf(tar: Buffer): Promise<Map<string, Buffer>> {
  const files = new Map<string, Buffer>()
  const reader = extract()
  reader.end(tar)
  for await (const entry of reader) {
    const chunks: Buffer[] = []
    for await (const chunk of entry as AsyncIterable<Buffer>) chunks.push(chunk)
    files.set(entry.header.name, Buffer.concat(chunks))
  }
  return files
}
