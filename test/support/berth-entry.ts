import { execFile } from 'node:child_process'
import { join, resolve } from 'node:path'
import { type PortName, type Ports, portVariables } from '../../infra/src/settings.ts'

const projectFolder = resolve(import.meta.dirname, '../..')
const timeoutMs = 300_000

export type Entered = { code: number; output: string }

/** `networkCidr` has to lie in the slot's own block, whose bridges the tests clear away. */
export type EntryPlace = { data: string; ports: Ports; engineSocket: string; networkCidr: string }

/** `./berth`, as a user would type it, with a data folder and ports of its own and a test engine as the local one. */
export function berthEntry(place: EntryPlace): (...words: string[]) => Promise<Entered> {
  const ports = Object.entries(portVariables).map(([name, { variable }]) => [
    variable,
    String(place.ports[name as PortName]),
  ])
  const env = {
    ...process.env,
    ...(Object.fromEntries(ports) as Record<string, string>),
    BERTH_DATA: place.data,
    BERTH_NETWORK_CIDR: place.networkCidr,
    DOCKER_HOST: `unix://${place.engineSocket}`,
    DATABASE_URL: '',
    REDIS_URL: '',
  }
  return (...words) =>
    new Promise((done) => {
      const options = { env, cwd: projectFolder, timeout: timeoutMs }
      execFile(join(projectFolder, 'berth'), words, options, (error, stdout, stderr) => {
        const code = error === null ? 0 : typeof error.code === 'number' ? error.code : 1
        done({ code, output: `${stdout}${stderr}` })
      })
    })
}
