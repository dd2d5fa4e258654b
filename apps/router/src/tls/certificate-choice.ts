import type { Certificate } from './certificate.ts'

/** Certificates by the names that they are for. */
export class CertificateChoice {
  readonly #byName = new Map<string, Certificate>()

  /** Of two for one name the one that is valid for longer counts. */
  constructor(certificates: readonly Certificate[]) {
    for (const certificate of certificates)
      for (const name of certificate.names) {
        const other = this.#byName.get(name)
        if (!other || other.validUntil < certificate.validUntil) this.#byName.set(name, certificate)
      }
  }

  /** For the host itself, else for `*` in the place of its first label (RFC 9525, 6.3). */
  for(host: string): Certificate | undefined {
    const name = host.toLowerCase()
    const dot = name.indexOf('.')
    return this.#byName.get(name) ?? (dot > 0 ? this.#byName.get(`*${name.slice(dot)}`) : undefined)
  }
}
