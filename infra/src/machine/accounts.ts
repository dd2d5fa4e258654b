import { readFileSync } from 'node:fs'

export type Account = { uid: number; gid: number }

/** Uid and gid of a system user, or undefined when there is none of that name. */
export function findAccount(name: string, passwd = readFileSync('/etc/passwd', 'utf8')): Account | undefined {
  for (const line of passwd.split('\n')) {
    const [user, , uid, gid] = line.split(':')
    if (user === name && uid !== undefined && gid !== undefined) return { uid: Number(uid), gid: Number(gid) }
  }
  return undefined
}

/** The name of a uid where it has one, else the number, for messages. */
export function accountName(uid: number, passwd = readFileSync('/etc/passwd', 'utf8')): string {
  for (const line of passwd.split('\n')) {
    const [user, , found] = line.split(':')
    if (user !== undefined && found === String(uid)) return user
  }
  return `uid ${uid}`
}

export function isRoot(): boolean {
  return process.getuid?.() === 0
}

/**
 * The user that the router runs as when Berth was started by root: it owns nothing on the machine but its
 * table cache, and needs no entry in /etc/passwd.
 */
export const routerAccount: Account = { uid: 65_532, gid: 65_532 }
