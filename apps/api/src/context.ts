import type { Keyring } from '@berth/db'

/** What operations need to know about their platform. */
export type ApiContext = {
  keyring: Keyring
  /** `localhost`, or what `BERTH_DOMAIN` says: services are hosts below it. */
  domain: string
  edgePort: number
  /** Where services are served over TLS, undefined where they are not. */
  tlsPort?: number | undefined
  /** Unix socket of the worker, for logs. */
  controlSocket: string
}
