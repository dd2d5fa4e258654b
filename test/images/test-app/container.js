import { constants, readFileSync, readlinkSync, lstatSync, writeFileSync } from 'node:fs'

/** What the app finds around itself, for the tests of the container contract. */
export function container() {
  return {
    workingDirectory: process.cwd(),
    arguments: process.argv.slice(2),
    user: process.getuid(),
    group: process.getgid(),
  }
}

/** Kind, permissions and, of a link, where it leads; null when nothing is there. */
export function describePath(path) {
  const about = lstatSync(path, { throwIfNoEntry: false })
  if (about === undefined) return null
  const mode = (about.mode & 0o7777).toString(8)
  if (about.isSymbolicLink()) return { kind: 'link', mode, target: readlinkSync(path) }
  const isDevice = (about.mode & constants.S_IFMT) === constants.S_IFCHR
  return { kind: isDevice ? 'device' : about.isDirectory() ? 'folder' : 'file', mode }
}

export function readText(path) {
  try {
    return { text: readFileSync(path, 'utf8') }
  } catch (error) {
    return { error: error.code }
  }
}

export function writeText(path, text) {
  try {
    writeFileSync(path, text)
    return {}
  } catch (error) {
    return { error: error.code }
  }
}

/** Reads standard input to its end. */
export async function readInput() {
  let length = 0
  for await (const chunk of process.stdin) length += chunk.length
  return { length }
}
