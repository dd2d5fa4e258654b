import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { randomBytes } from 'node:crypto'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Keyring, MasterKeyError, SealBrokenError } from './sealed.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'berth-key-'))
})
afterAll(() => rm(folder, { recursive: true }))

const keyring = new Keyring(Buffer.alloc(32, 7))

test('what was sealed opens for the same purpose', () => {
  for (const text of ['', 'secret', 'ä'.repeat(40_000)])
    expect(keyring.openText(keyring.seal(text, 'service:1:env'), 'service:1:env')).toBe(text)
})

test('the same text never looks the same, and never shows', () => {
  const first = keyring.seal('topsecret', 'p')
  expect(first.equals(keyring.seal('topsecret', 'p'))).toBe(false)
  expect(first.includes('topsecret')).toBe(false)
})

test('another purpose, another key and any changed byte break the seal', () => {
  const sealed = keyring.seal('secret', 'service:1:env')
  expect(() => keyring.open(sealed, 'service:2:env')).toThrow(SealBrokenError)
  expect(() => new Keyring(Buffer.alloc(32, 8)).open(sealed, 'service:1:env')).toThrow(SealBrokenError)
  for (let at = 0; at < sealed.length; at += 1) {
    const changed = Buffer.from(sealed)
    changed.writeUInt8(changed.readUInt8(at) ^ 1, at)
    expect(() => keyring.open(changed, 'service:1:env'), `byte ${at}`).toThrow(SealBrokenError)
  }
  for (let length = 0; length < sealed.length; length += 1)
    expect(() => keyring.open(sealed.subarray(0, length), 'service:1:env')).toThrow(SealBrokenError)
})

test('the key file must be there, private and hold 32 bytes', async () => {
  const path = join(folder, 'master.key')
  await expect(Keyring.fromFile(path)).rejects.toThrow('ENOENT')
  await writeFile(path, `${randomBytes(32).toString('base64')}\n`, { mode: 0o600 })
  const fromFile = await Keyring.fromFile(path)
  expect(fromFile.openText(fromFile.seal('x', 'p'), 'p')).toBe('x')
  const open = join(folder, 'open.key')
  await writeFile(open, randomBytes(32).toString('base64'), { mode: 0o644 })
  await expect(Keyring.fromFile(open)).rejects.toThrow('0600')
  const short = join(folder, 'short.key')
  await writeFile(short, randomBytes(16).toString('base64'), { mode: 0o600 })
  await expect(Keyring.fromFile(short)).rejects.toThrow(MasterKeyError)
})

test('a keyring shows nothing of its key', () => {
  expect(JSON.stringify({ keyring })).toBe('{"keyring":"***"}')
})
