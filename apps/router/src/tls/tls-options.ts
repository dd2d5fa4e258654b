import type { TlsOptions } from 'node:tls'
import type { CertificateChoice } from './certificate-choice.ts'

/** A client gets this long for its handshake. */
const handshakeTimeoutMs = 10_000

/** Certificates are looked up anew for each handshake, so that those of connections that live go on. */
export function tlsOptions(certificates: () => CertificateChoice): TlsOptions {
  return {
    minVersion: 'TLSv1.2',
    honorCipherOrder: true,
    ALPNProtocols: ['h2', 'http/1.1'],
    handshakeTimeout: handshakeTimeoutMs,
    SNICallback(host, done) {
      const certificate = certificates().for(host)
      if (certificate) done(null, certificate.context)
      else done(new Error(`no certificate is for ${host}`))
    },
  }
}
