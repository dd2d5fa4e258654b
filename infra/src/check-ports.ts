import { Failure } from './failure.ts'
import { accountName } from './machine/accounts.ts'
import { portHolder, type PortState, portState } from './machine/port-holder.ts'
import { type PortName, portVariables, routerAdminPorts, type Settings } from './settings.ts'

const purposes: Record<PortName | 'tls', string> = {
  tls: 'the services over TLS',
  edge: 'the services',
  api: 'the API',
  routerAdmin: "the router's health page",
  workerAdmin: "the worker's health page",
  registry: 'the registry',
}

/** Throws one Failure that names every port that cannot be had, why, and the variable that moves it. */
export async function checkPorts(settings: Settings): Promise<void> {
  const problems: string[] = []
  for (const { name, port, addresses } of wantedPorts(settings)) {
    const states: PortState[] = []
    // One after the other: of 0.0.0.0 and :: each would find the other one there.
    for (const address of addresses) states.push(await portState(port, address))
    if (states.includes('taken')) problems.push(takenPort(name, port, portHolder(port)))
    else if (states.includes('forbidden')) problems.push(forbiddenPort(name, port))
    // ::1 is one of the defaults, and not every machine has it.
    const absent = addresses.filter((address, index) => address !== '::1' && states[index] === 'absent')
    for (const address of absent)
      problems.push(`BERTH_EDGE_ADDRESSES has ${address}, which is no address of this machine.`)
  }
  if (problems.length > 0) throw new Failure(problems.join('\n'))
}

type WantedPort = { name: keyof typeof purposes; port: number; addresses: readonly string[] }

function wantedPorts(settings: Settings): WantedPort[] {
  const { ports, tls, edgeAddresses } = settings
  const wanted = (Object.keys(portVariables) as PortName[]).flatMap((name): WantedPort[] => {
    const numbers = name === 'routerAdmin' ? routerAdminPorts(settings) : [ports[name]]
    const addresses = name === 'edge' ? edgeAddresses : ['127.0.0.1']
    return numbers.map((port) => ({ name, port, addresses }))
  })
  return tls ? [...wanted, { name: 'tls', port: tls.port, addresses: edgeAddresses }] : wanted
}

/** "Port 8080 for the services is taken by nginx (pid 812); stop it, or set BERTH_EDGE_PORT ..." */
export function takenPort(name: keyof typeof purposes, port: number, holder: string | undefined): string {
  const who = holder === undefined ? 'another program' : holder
  return `Port ${port} for ${purposes[name]} is taken by ${who}; stop it, or set ${variableOf(name)} to another port.`
}

function forbiddenPort(name: keyof typeof purposes, port: number): string {
  const user = accountName(process.getuid?.() ?? 0)
  return `${user} may not listen on port ${port} for ${purposes[name]}; set ${variableOf(name)} to 1024 or higher, or start Berth as root.`
}

function variableOf(name: keyof typeof purposes): string {
  return name === 'tls' ? 'BERTH_TLS_PORT' : portVariables[name].variable
}
