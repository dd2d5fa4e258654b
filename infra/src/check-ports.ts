import { Failure } from './failure.ts'
import { accountName } from './machine/accounts.ts'
import { portHolder, portState } from './machine/port-holder.ts'
import { type PortName, portVariables, routerAdminPorts, type Settings } from './settings.ts'

const purposes: Record<PortName, string> = {
  edge: 'the services',
  api: 'the API',
  routerAdmin: "the router's health page",
  workerAdmin: "the worker's health page",
  registry: 'the registry',
}

/** Throws one Failure that names every port that cannot be had, why, and the variable that moves it. */
export async function checkPorts(settings: Settings): Promise<void> {
  const problems: string[] = []
  for (const { name, port } of wantedPorts(settings)) {
    const states = [await portState(port, '127.0.0.1')]
    // The edge alone listens on both; a machine without IPv6 has no ::1 and needs none.
    if (name === 'edge') states.push(await portState(port, '::1'))
    if (states.includes('taken')) problems.push(takenPort(name, port, portHolder(port)))
    else if (states.includes('forbidden')) problems.push(forbiddenPort(name, port))
  }
  if (problems.length > 0) throw new Failure(problems.join('\n'))
}

function wantedPorts(settings: Settings): { name: PortName; port: number }[] {
  return (Object.keys(portVariables) as PortName[]).flatMap((name) => {
    const wanted = name === 'routerAdmin' ? routerAdminPorts(settings) : [settings.ports[name]]
    return wanted.map((port) => ({ name, port }))
  })
}

/** "Port 8080 for the services is taken by nginx (pid 812); stop it, or set BERTH_EDGE_PORT ..." */
export function takenPort(name: PortName, port: number, holder: string | undefined): string {
  const who = holder === undefined ? 'another program' : holder
  return `Port ${port} for ${purposes[name]} is taken by ${who}; stop it, or set ${portVariables[name].variable} to another port.`
}

function forbiddenPort(name: PortName, port: number): string {
  const user = accountName(process.getuid?.() ?? 0)
  return `${user} may not listen on port ${port} for ${purposes[name]}; set ${portVariables[name].variable} to 1024 or higher, or start Berth as root.`
}
