import { Failure } from './failure.ts'

export type Command =
  | { kind: 'up'; foreground: boolean }
  | { kind: 'down' }
  | { kind: 'status'; json: boolean }
  | { kind: 'restart'; process: string }
  | { kind: 'backup'; folder: string }
  | { kind: 'restore'; file: string }
  | { kind: 'image-build'; folder: string; output: string }
  | { kind: 'image-push'; folder: string; reference: string }
  | { kind: 'test'; fast: boolean }
  | { kind: 'help' }

export const usage = `Usage: ./berth <command>

  up [--foreground]             install what is missing, start everything, deploy the sample
  down                          stop Berth and its containers; all data stays
  status [--json]               what runs, since when, and where
  restart <process>             restart one process; the router loses no request
  backup <folder>               write the database into a new file there; Berth may run meanwhile
  restore <file>                fill an empty database from such a file; Berth must be down
  image build <folder> <file>   pack a Node app into an image archive, without any registry
  image push <folder> <ref>     pack a Node app and push it, for example to 127.0.0.1:5050/hello:1
  test [--fast]                 run all tests; --fast: unit and integration tests, without Docker
  packages                      install the Debian packages that are missing
`

/** What the words after \`berth\` ask for; anything unknown is a Failure that names it. */
export function parseCommand(words: readonly string[]): Command {
  const [verb, ...rest] = words
  switch (verb) {
    case undefined:
    case 'help':
    case '--help':
    case '-h':
      return { kind: 'help' }
    case 'up':
      return { kind: 'up', foreground: flag(verb, rest, '--foreground') }
    case 'down':
      flag(verb, rest, undefined)
      return { kind: 'down' }
    case 'status':
      return { kind: 'status', json: flag(verb, rest, '--json') }
    case 'restart':
      return { kind: 'restart', process: exactly(rest, 'restart <process>', 1)[0] }
    case 'backup':
      return { kind: 'backup', folder: exactly(rest, 'backup <folder>', 1)[0] }
    case 'restore':
      return { kind: 'restore', file: exactly(rest, 'restore <file>', 1)[0] }
    case 'image':
      return parseImage(rest)
    case 'test':
      return { kind: 'test', fast: flag(verb, rest, '--fast') }
    default:
      throw new Failure(`There is no command "${verb}"; ./berth help lists them.`)
  }
}

function parseImage(words: readonly string[]): Command {
  const [verb, ...rest] = words
  if (verb === 'build') {
    const [folder, output] = exactly(rest, 'image build <folder> <file>', 2)
    return { kind: 'image-build', folder, output }
  }
  if (verb === 'push') {
    const [folder, reference] = exactly(rest, 'image push <folder> <reference>', 2)
    return { kind: 'image-push', folder, reference }
  }
  throw new Failure('Say ./berth image build <folder> <file> or ./berth image push <folder> <reference>.')
}

function flag(verb: string, words: readonly string[], allowed: string | undefined): boolean {
  const unknown = words.find((word) => word !== allowed)
  if (unknown !== undefined) throw new Failure(`./berth ${verb} does not know "${unknown}".`)
  return words.length > 0
}

function exactly(words: readonly string[], form: string, count: 1): [string]
function exactly(words: readonly string[], form: string, count: 2): [string, string]
function exactly(words: readonly string[], form: string, count: number): string[] {
  if (words.length !== count) throw new Failure(`Say ./berth ${form}.`)
  return [...words]
}
