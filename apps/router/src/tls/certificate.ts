import { createPrivateKey, X509Certificate } from 'node:crypto'
import { createSecureContext, type SecureContext } from 'node:tls'

/** A certificate with its chain and key, ready to be shown. `names` are lower case, some of them `*.example.com`. */
export type Certificate = {
  names: readonly string[]
  /** Milliseconds since 1970. */
  validUntil: number
  context: SecureContext
}

/** Mozilla's intermediate profile: forward secrecy and authenticated encryption only. TLS 1.3 has nothing else. */
const ciphers = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
].join(':')

/**
 * Reads a chain, the server's own certificate first, and its key, both PEM. Throws an error that says what is wrong:
 * no PEM, a key of another certificate, one that is over or not yet begun, or one without any name.
 */
export function parseCertificate(chain: Buffer, key: Buffer, now: number): Certificate {
  const own = new X509Certificate(chain)
  if (!own.checkPrivateKey(createPrivateKey(key))) throw new Error('the key is of another certificate')
  const validUntil = own.validToDate.getTime()
  if (validUntil <= now) throw new Error(`the certificate ended at ${own.validToDate.toISOString()}`)
  if (own.validFromDate.getTime() > now)
    throw new Error(`the certificate begins at ${own.validFromDate.toISOString()}`)
  const names = dnsNames(own.subjectAltName ?? '')
  if (names.length === 0) throw new Error('the certificate names no host (subjectAltName)')
  const context = createSecureContext({ cert: chain, key, ciphers, minVersion: 'TLSv1.2' })
  return { names, validUntil, context }
}

/** `DNS:a.example, IP Address:10.0.0.1, DNS:*.b.example`. Names with quotes or escapes are none of ours. */
function dnsNames(subjectAltName: string): string[] {
  return subjectAltName
    .split(', ')
    .filter((part) => /^DNS:[A-Za-z0-9*.-]+$/.test(part))
    .map((part) => part.slice('DNS:'.length).toLowerCase())
}
