import { formatMemory, minMemoryBytes, type ExplanationView, type Reason } from '@berth/contracts'
import type { Condition, desired, RevisionFacts } from '@berth/db'

/** Where commands go: `origin` of the API, the prefix of the project, and the URL of the service. */
export type CommandPlace = { origin: string; prefix: string; url: string }

type Command = ExplanationView['next'][number]
type Facts = desired.ExplanationFacts
type Call = (method: string, path: string, body?: unknown) => string

const mebibyte = 1024 ** 2

/** What to try next, the best first: at most four. */
export function nextCommands(facts: Facts, condition: Condition, place: CommandPlace): Command[] {
  if (facts.service.deletedAt !== null) return []
  const call: Call = (method, path, body) => curl(place, method, path, body)
  const service = `${place.prefix}/services/${facts.service.name}`
  const { reason, message } = troubleOf(facts, condition)
  const commands = [
    ...(reason === null
      ? []
      : (remedies[reason]?.({ facts, message, call, service, prefix: place.prefix }) ?? [])),
    ...wayBack(facts, condition, call, service),
    ...(facts.open === null
      ? []
      : [
          {
            why: 'Follow the deployment.',
            command: call('GET', `${place.prefix}/deployments/${facts.open.id}/events`),
          },
        ]),
    ...(facts.service.pinnedRevision === null
      ? []
      : [
          {
            why: 'End the pin of the rollback: all traffic to the latest ready revision.',
            command: call('PUT', `${service}/traffic`, [{ revision: 'latest', percent: 100 }]),
          },
        ]),
    ...(condition.status === 'True' && reason === null
      ? [{ why: 'Ask the service.', command: `curl -i ${quote(place.url)}` }]
      : []),
  ]
  return commands.slice(0, 4)
}

/** What most needs something done: the condition, else what a deployment fails or has failed on. */
function troubleOf(
  { open, lastFinished }: Facts,
  condition: Condition,
): { reason: Reason | null; message: string } {
  const failed = open === null && lastFinished?.phase === 'failed' ? lastFinished : null
  const candidates = [condition.status === 'False' ? condition : null, open, failed]
  const trouble = candidates.find((candidate) => candidate !== null && candidate.reason !== null)
  return { reason: (trouble?.reason ?? null) as Reason | null, message: trouble?.message ?? '' }
}

type Trouble = { facts: Facts; message: string; call: Call; service: string; prefix: string }

const remedies: Partial<Record<Reason, (trouble: Trouble) => Command[]>> = {
  ImageNotFound: ({ facts, call, service }) => [
    { why: 'Push the image.', command: `docker push ${quote(imageOf(facts))}` },
    deployAgain(facts, call, service),
  ],
  ImagePullFailed: ({ facts, call, service }) => [deployAgain(facts, call, service)],
  RegistryUnreachable: ({ facts, call, service }) => [deployAgain(facts, call, service)],
  RevisionExists: ({ facts, call, service }) => [
    { ...deployAgain(facts, call, service), why: 'Deploy it without the suffix, or with another one.' },
  ],
  RegistryAuthRequired: ({ facts, call, prefix, service }) => [
    {
      why: 'Give Berth a login for the registry.',
      command: call('PUT', `${prefix}/registries/${imageOf(facts).split('/')[0] ?? ''}`, {
        username: 'NAME',
        password: 'PASSWORD',
      }),
    },
    deployAgain(facts, call, service),
  ],
  Unplaceable: ({ facts, message, call, service }) => [
    { why: 'See what the nodes have left.', command: call('GET', '/nodes') },
    ...(/\bmemory\b/.test(message)
      ? [{ why: 'Ask for less memory.', command: call('PATCH', service, { memory: halfMemory(facts) }) }]
      : []),
  ],
  NodeLost: ({ call }) => [{ why: 'See which nodes are down.', command: call('GET', '/nodes') }],
  VolumeLost: ({ call, prefix }) => [
    { why: 'See where the volumes are.', command: call('GET', `${prefix}/volumes`) },
  ],
  OutOfMemory: ({ facts, call, service }) => [
    {
      why: 'Give it twice the memory.',
      command: call('PATCH', service, { memory: formatMemory(memoryOf(facts) * 2) }),
    },
  ],
  NotListening: ({ message, call, service }) => {
    const port = reachablePort(message)
    return port === undefined
      ? [{ ...readLogs(call, service), why: 'Let the app listen on 0.0.0.0 at $PORT; read what it printed.' }]
      : [{ why: 'Say on which port the app listens.', command: call('PATCH', service, { port }) }]
  },
  ProbeFailed: ({ call, service }) => [
    readLogs(call, service),
    {
      why: 'Change what is asked, or for how long.',
      command: call('PATCH', service, { readinessProbe: { httpGet: { path: '/' } } }),
    },
  ],
  AppCrashed: ({ call, service }) => [readLogs(call, service)],
  StartFailed: ({ facts, call, service }) => [readLogs(call, service), deployAgain(facts, call, service)],
  DeadlineExceeded: ({ facts, call, service }) => [
    readLogs(call, service),
    deployAgain(facts, call, service),
  ],
  Cancelled: ({ facts, call, service }) => [deployAgain(facts, call, service)],
}

/** To the newest revision that was ready before the one that does not serve. */
function wayBack(facts: Facts, condition: Condition, call: Call, service: string): Command[] {
  if (condition.status !== 'False') return []
  const routed = new Set(facts.status.traffic.map(({ revision }) => revision))
  const older = (revision: RevisionFacts) => revision.readyAt !== null && !routed.has(revision.name)
  const before = facts.revisions.findLast(older)
  if (before === undefined || routed.size === 0) return []
  return [
    {
      why: `Go back to ${before.name}, which was ready before.`,
      command: call('POST', `${service}/rollback`, { revision: before.name }),
    },
  ]
}

function readLogs(call: Call, service: string): Command {
  return { why: 'Read what the app printed.', command: call('GET', `${service}/logs?tail=100`) }
}

function deployAgain(facts: Facts, call: Call, service: string): Command {
  return { why: 'Deploy it again.', command: call('PATCH', service, { image: imageOf(facts) }) }
}

function imageOf({ service }: Facts): string {
  return service.template.containers[0]?.image ?? ''
}

function memoryOf({ service }: Facts): number {
  return service.template.containers[0]?.resources.memory ?? 0
}

function halfMemory(facts: Facts): string {
  const mebibytes = Math.floor(memoryOf(facts) / 2 / mebibyte)
  return formatMemory(Math.max(minMemoryBytes, mebibytes * mebibyte))
}

/** The first port of "found 0.0.0.0:3000, 127.0.0.1:9000" that can be reached from outside the container. */
function reachablePort(message: string): number | undefined {
  const found = /\bfound ([^;\n]+)/.exec(message)?.[1]?.split(', ') ?? []
  const open = found.find((listener) => !/^(127\.|\[::1\])/.test(listener) && /:\d+$/.test(listener))
  return open === undefined ? undefined : Number(open.slice(open.lastIndexOf(':') + 1))
}

function curl({ origin }: CommandPlace, method: string, path: string, body?: unknown): string {
  const how = method === 'GET' || (method === 'POST' && body !== undefined) ? [] : ['-X', method]
  const what = body === undefined ? [] : ['--json', quote(JSON.stringify(body))]
  return ['curl', ...how, '-H', '"Authorization: Bearer $token"', ...what, quote(`${origin}${path}`)].join(
    ' ',
  )
}

/** As one word of a shell, whatever is in it. */
function quote(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`
}
