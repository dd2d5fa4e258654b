import { createConnection, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { Failure, messageOf } from '../failure.ts'

type Version = readonly [major: number, minor: number]

const oldest: Version = [6, 2]

/**
 * Looks at a Redis that somebody else runs before Berth relies on it: it must answer, be new enough, and not forget
 * keys when its memory is full. A server that does not let us see its version or policy is taken as it is.
 */
export async function checkForeignRedis(url: string): Promise<void> {
  let answer: string
  try {
    answer = await ask(url)
  } catch (error) {
    throw new Failure(`REDIS_URL does not answer: ${messageOf(error)}.`, { cause: error })
  }
  const policy = readPolicy(answer)
  const version = readVersion(answer)
  if (version !== undefined && isOlder(version, oldest))
    throw new Failure(
      `The Redis at REDIS_URL is version ${version.join('.')}; Berth needs ${oldest.join('.')} or newer.`,
    )
  if (policy !== undefined && policy !== 'noeviction')
    throw new Failure(`The Redis at REDIS_URL has maxmemory-policy ${policy}; Berth needs noeviction.`)
}

/** The policy in the answer to CONFIG GET, or undefined where that is not allowed. Throws on a refused login. */
export function readPolicy(answer: string): string | undefined {
  const refusal = /^-(WRONGPASS|NOAUTH)[^\r]*/m.exec(answer)?.[0]
  if (refusal !== undefined) throw new Failure(`REDIS_URL is refused by its server: ${refusal.slice(1)}.`)
  return /maxmemory-policy\r\n\$\d+\r\n([a-z-]+)/.exec(answer)?.[1]
}

/** The version in the answer to INFO, or undefined where that is not allowed. */
function readVersion(answer: string): Version | undefined {
  const [, major, minor] = /redis_version:(\d+)\.(\d+)/.exec(answer) ?? []
  return major === undefined ? undefined : [Number(major), Number(minor)]
}

function isOlder(a: Version, b: Version): boolean {
  return a[0] === b[0] ? a[1] < b[1] : a[0] < b[0]
}

function ask(url: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const { socket, login } = open(url)
    let answer = ''
    socket.setTimeout(5000, () => socket.destroy(new Error('no answer within 5 s')))
    socket.once('error', reject)
    socket.once('close', () => resolve(answer))
    socket.on('data', (chunk: Buffer) => (answer += chunk.toString()))
    const questions = [['INFO', 'server'], ['CONFIG', 'GET', 'maxmemory-policy'], ['QUIT']]
    socket.write([...login, ...questions].map(encode).join(''))
  })
}

/** Understands what ioredis does: a socket path with a query, `redis://` and `rediss://`. */
function open(url: string): { socket: Socket; login: string[][] } {
  const isPath = url.startsWith('/')
  const parsed = new URL(isPath ? `redis://localhost${url}` : url)
  const user = parsed.searchParams.get('username') ?? decodeURIComponent(parsed.username)
  const password = parsed.searchParams.get('password') ?? decodeURIComponent(parsed.password)
  const login = password === '' ? [] : [['AUTH', ...(user === '' ? [] : [user]), password]]
  if (isPath) return { socket: createConnection(decodeURIComponent(parsed.pathname)), login }
  const place = { host: parsed.hostname, port: Number(parsed.port === '' ? 6379 : parsed.port) }
  const secure = parsed.protocol === 'rediss:'
  return {
    socket: secure ? connectTls({ ...place, servername: place.host }) : createConnection(place),
    login,
  }
}

function encode(words: string[]): string {
  const parts = words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`)
  return `*${words.length}\r\n${parts.join('')}`
}
