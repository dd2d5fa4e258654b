import { Failure } from './failure.ts'
import { isPortFree, portHolder } from './machine/port-holder.ts'
import { type PortName, portVariables, type Settings } from './settings.ts'

const purposes: Record<PortName, string> = {
  edge: 'the services',
  api: 'the API',
  routerAdmin: "the router's health page",
  workerAdmin: "the worker's health page",
  registry: 'the registry',
}

/** Throws one Failure that names every port that is taken, by whom, and the variable that moves it. */
export async function checkPorts({ ports }: Settings): Promise<void> {
  const taken: string[] = []
  for (const name of Object.keys(portVariables) as PortName[]) {
    if (await isPortFree(ports[name])) continue
    taken.push(portProblem(name, ports[name], portHolder(ports[name])))
  }
  if (taken.length > 0) throw new Failure(taken.join('\n'))
}

/** "Port 8080 for the services is taken by nginx (pid 812); stop it, or set BERTH_EDGE_PORT ..." */
export function portProblem(name: PortName, port: number, holder: string | undefined): string {
  const who = holder === undefined ? 'another program' : holder
  return `Port ${port} for ${purposes[name]} is taken by ${who}; stop it, or set ${portVariables[name].variable} to another port.`
}
