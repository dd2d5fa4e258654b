import { inspect } from 'node:util'

type BuildRequest = (options: object, ...rest: unknown[]) => void

/**
 * docker-modem describes every request for a log that nobody reads, with all that hangs on it: the agent, its sockets
 * and the listeners of the abort signal. That took longer than sending it. Its requests describe themselves shortly.
 */
export function quieten<T extends object>(modem: T): T {
  const { buildRequest } = modem as { buildRequest?: BuildRequest }
  if (buildRequest === undefined) throw new Error('docker-modem no longer has the method that is quietened')
  const quiet: BuildRequest = (options, ...rest) => {
    buildRequest.call(modem, Object.assign(options, { [inspect.custom]: () => 'request' }), ...rest)
  }
  return Object.assign(modem, { buildRequest: quiet })
}
