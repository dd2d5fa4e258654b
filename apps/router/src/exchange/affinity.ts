import { pairs } from './headers.ts'

/*
 * The cookie of a client that is to come back to the replica that answered it: two tokens, of the revision and of the
 * replica, which mean something to routers only. The app never sees it.
 */

const name = 'BERTH_AFFINITY'
const form = /^([A-Za-z0-9_-]{22})\.([A-Za-z0-9_-]{22})$/

export type Affinity = { revision: string; replica: string }

/** What the client brought along, undefined when it is nothing of ours. */
export function readAffinity(raw: readonly string[]): Affinity | undefined {
  for (const [header, value] of pairs(raw)) {
    if (header.toLowerCase() !== 'cookie') continue
    for (const part of value.split(';')) {
      const [, revision, replica] = isOurs(part) ? (form.exec(valueOf(part)) ?? []) : []
      if (revision !== undefined && replica !== undefined) return { revision, replica }
    }
  }
  return undefined
}

/** The headers without it. Other cookies keep every byte; a header of which nothing is left goes. */
export function withoutAffinity(raw: readonly string[]): string[] {
  const headers: string[] = []
  for (const [header, value] of pairs(raw)) {
    const kept = header.toLowerCase() === 'cookie' ? withoutOurs(value) : value
    if (kept !== undefined) headers.push(header, kept)
  }
  return headers
}

/** As a value of `Set-Cookie`, for as long as the browser is open. */
export function affinityCookie({ revision, replica }: Affinity): string {
  return `${name}=${revision}.${replica}; Path=/; HttpOnly; SameSite=Lax`
}

function withoutOurs(cookies: string): string | undefined {
  const parts = cookies.split(';')
  const kept = parts.filter((part) => !isOurs(part))
  if (kept.length === parts.length) return cookies
  const text = kept.join(';')
  if (text.trim() === '') return undefined
  // The blank before it belonged to the separator that went with ours.
  return parts[0] === kept[0] ? text : text.trimStart()
}

function isOurs(part: string): boolean {
  return part.trimStart().startsWith(`${name}=`)
}

function valueOf(part: string): string {
  return part.slice(part.indexOf('=') + 1).trim()
}
