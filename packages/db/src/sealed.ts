import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { open } from 'node:fs/promises'

/*
 * A sealed value: version byte, then the data key wrapped by the master key, then the text under the data key.
 *
 *   1 | wrap iv 12 | wrapped key 32 | wrap tag 16 | iv 12 | tag 16 | ciphertext
 *
 * Both layers are AES-256-GCM and are bound to a purpose such as `service:<uid>:env`, so that a value copied
 * into another row does not open. Turning the master key only means wrapping the data keys anew.
 */
const version = 1
const ivBytes = 12
const keyBytes = 32
const tagBytes = 16
const headerBytes = 1 + ivBytes + keyBytes + tagBytes + ivBytes + tagBytes

/** A sealed value does not open: wrong master key, wrong purpose, or changed bytes. */
export class SealBrokenError extends Error {
  constructor(purpose: string) {
    super(`the sealed value for "${purpose}" does not open with this master key`)
    this.name = 'SealBrokenError'
  }
}

/** The file of the master key is missing, open to others, or not a key. */
export class MasterKeyError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'MasterKeyError'
  }
}

export class Keyring {
  readonly #masterKey: Buffer

  constructor(masterKey: Buffer) {
    if (masterKey.length !== keyBytes) throw new MasterKeyError(`the master key must have ${keyBytes} bytes`)
    this.#masterKey = Buffer.from(masterKey)
  }

  /** The file holds 32 bytes in base64 and may be read by its owner only. Throws `MasterKeyError`. */
  static async fromFile(path: string): Promise<Keyring> {
    const file = await open(path, 'r').catch((error: NodeJS.ErrnoException) => {
      throw new MasterKeyError(`the master key file cannot be read (${error.code ?? 'unknown'})`)
    })
    try {
      const { mode } = await file.stat()
      if ((mode & 0o077) !== 0) throw new MasterKeyError('the master key file must have mode 0600')
      const text = (await file.readFile('utf8')).trim()
      if (!/^[A-Za-z0-9+/]{43}=$/.test(text))
        throw new MasterKeyError(`the master key file must hold ${keyBytes} bytes in base64`)
      return new Keyring(Buffer.from(text, 'base64'))
    } finally {
      await file.close()
    }
  }

  /** `purpose` names row and column: `service:<uid>:env`. The same one opens the value again. */
  seal(plain: Buffer | string, purpose: string): Buffer {
    const dataKey = randomBytes(keyBytes)
    const wrapped = encrypt(this.#masterKey, dataKey, purpose)
    const body = encrypt(dataKey, typeof plain === 'string' ? Buffer.from(plain, 'utf8') : plain, purpose)
    const head = [Buffer.of(version), wrapped.iv, wrapped.text, wrapped.tag, body.iv, body.tag]
    return Buffer.concat([...head, body.text])
  }

  /** Throws `SealBrokenError`. */
  open(sealed: Buffer, purpose: string): Buffer {
    try {
      if (sealed.length < headerBytes || sealed[0] !== version) throw new SealBrokenError(purpose)
      let at = 1
      const take = (length: number) => sealed.subarray(at, (at += length))
      const wrapped = { iv: take(ivBytes), text: take(keyBytes), tag: take(tagBytes) }
      const body = { iv: take(ivBytes), tag: take(tagBytes), text: sealed.subarray(headerBytes) }
      return decrypt(decrypt(this.#masterKey, wrapped, purpose), body, purpose)
    } catch {
      throw new SealBrokenError(purpose)
    }
  }

  /** The value as UTF-8 text. Throws `SealBrokenError`. */
  openText(sealed: Buffer, purpose: string): string {
    return this.open(sealed, purpose).toString('utf8')
  }

  toJSON(): string {
    return '***'
  }
}

type Encrypted = { iv: Buffer; text: Buffer; tag: Buffer }

function encrypt(key: Buffer, plain: Buffer, purpose: string): Encrypted {
  const iv = randomBytes(ivBytes)
  const cipher = createCipheriv('aes-256-gcm', key, iv).setAAD(Buffer.from(purpose, 'utf8'))
  const text = Buffer.concat([cipher.update(plain), cipher.final()])
  return { iv, text, tag: cipher.getAuthTag() }
}

function decrypt(key: Buffer, { iv, text, tag }: Encrypted, purpose: string): Buffer {
  const decipher = createDecipheriv('aes-256-gcm', key, iv, { authTagLength: tagBytes })
  decipher.setAAD(Buffer.from(purpose, 'utf8')).setAuthTag(tag)
  return Buffer.concat([decipher.update(text), decipher.final()])
}
