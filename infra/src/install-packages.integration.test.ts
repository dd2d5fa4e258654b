import { readFileSync } from 'node:fs'
import { chmod, mkdir, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type OwnMachine, type Ran, startOwnMachine } from '../../test/support/own-machine.ts'
import { until } from '../../test/support/poll.ts'

/*
 * The real script on a machine of its own, whose apt-get and dpkg are stand-ins: they keep the states of packages as
 * files below /stub/status, and "installing" one puts its program in its place and enables its unit, as the real
 * packages do.
 */

const script = join(import.meta.dirname, '../install-packages')
const policy = '/usr/sbin/policy-rc.d'

const programs: Record<string, string> = {
  'redis-server': '/usr/bin/redis-server',
  'docker-registry': '/usr/bin/docker-registry',
  'docker.io': '/usr/sbin/dockerd',
  'busybox-static': '/bin/busybox',
}
const daemons = ['redis-server', 'docker-registry']

const place = `case $1 in
  ${Object.entries(programs)
    .map(([name, file]) => `${name}) echo ${file} ;;`)
    .join('\n  ')}
esac`

const setPackageUp = `
set_up() {
  program=$(set -- "$1"; ${place})
  [ -z "$program" ] || { [ -e "$program" ] || printf '#!/bin/sh\\n' >"$program"; chmod 755 "$program"; }
  printf 'install ok installed' >/stub/status/$1
  [ ! -e /lib/systemd/system/$1.service ] || systemctl enable $1 >/dev/null 2>&1
}`

const stubs: Record<string, string> = {
  'apt-get': `#!/bin/sh
${setPackageUp}
echo "apt-get $*" >>/stub/calls
case " $* " in *" install "*) ;; *) exit 0 ;; esac
${policy} any start >/dev/null 2>&1
echo "policy $?" >>/stub/calls
[ ! -e /stub/fails ] || exit 100
packages=\${*##*--no-install-recommends}
if [ -e /stub/stands-still ]; then
  for package in $packages; do printf 'install ok half-configured' >/stub/status/$package; done
  echo $$ >/stub/still
  exec sleep 600
fi
for package in $packages; do set_up "$package"; done`,
  dpkg: `#!/bin/sh
${setPackageUp}
echo "dpkg $*" >>/stub/calls
for file in /stub/status/*; do
  case $(cat $file) in *half-configured) set_up "\${file##*/}" ;; esac
done`,
  'dpkg-query': `#!/bin/sh
format=$2
shift 2
for package in "$@"; do
  [ -e /stub/status/$package ] || continue
  case $format in *Package*) printf '%s %s\\n' "$(cat /stub/status/$package)" $package ;; *) cat /stub/status/$package ;; esac
done`,
}

let machine: OwnMachine

beforeEach(async () => {
  machine = await startOwnMachine()
  for (const [name, body] of Object.entries(stubs)) await write(`/stub/bin/${name}`, `${body}\n`, 0o755)
  await mkdir(machine.path('/stub/status'))
  await write('/stub/status/busybox-static', 'install ok installed')
  await rm(machine.path(policy), { force: true })
  for (const daemon of daemons) {
    const unit = '[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n'
    await write(`/lib/systemd/system/${daemon}.service`, unit)
    await write(`/stub/status/${daemon}`, 'install ok installed')
    await write(programs[daemon] ?? '', '#!/bin/sh\n', 0o755)
    await machine.run(['systemctl', 'disable', daemon])
  }
})

afterEach(() => machine.close())

async function write(inside: string, text: string, mode = 0o644): Promise<void> {
  const file = machine.path(inside)
  await mkdir(dirname(file), { recursive: true })
  await rm(file, { force: true })
  await writeFile(file, text)
  await chmod(file, mode)
}

const read = (inside: string) => readFileSync(machine.path(inside), 'utf8')
const calls = () => read('/stub/calls').trim().split('\n')
const installs = () => calls().filter((call) => call.includes(' install '))
const isEnabled = (daemon: string) =>
  machine.exists(`/etc/systemd/system/multi-user.target.wants/${daemon}.service`)

/** As on a machine that never had it. */
async function takeAway(...packages: string[]): Promise<void> {
  for (const name of packages) {
    await rm(machine.path(programs[name] ?? ''), { force: true })
    await rm(machine.path(`/stub/status/${name}`), { force: true })
  }
}

const env = (more: Record<string, string> = {}) => ({ PATH: `/stub/bin:${searchPath}`, ...more })
const searchPath = `${dirname(process.execPath)}:/usr/sbin:/usr/bin:/sbin:/bin`

const begin = (scope: string, options: { user?: number; env?: Record<string, string>; file?: string } = {}) =>
  machine.begin(['/bin/sh', options.file ?? script, scope], {
    env: env(options.env),
    ...(options.user === undefined ? {} : { user: options.user }),
  })

const install = (scope = 'up', options: Parameters<typeof begin>[1] = {}): Promise<Ran> =>
  begin(scope, options).ended

describe('installing packages', () => {
  test('asks apt for nothing where nothing is missing', async () => {
    expect(await install()).toEqual({ code: 0, output: '', errors: '' })
    expect(machine.exists('/stub/calls')).toBe(false)
  })

  test('happens while no daemon may start, and no trace of that stays', async () => {
    await takeAway('redis-server')
    expect(await install()).toMatchObject({ code: 0 })
    expect(installs()).toEqual([
      'apt-get -o DPkg::Lock::Timeout=300 install -y -q --reinstall --no-install-recommends redis-server',
    ])
    expect(calls()).toContain('policy 101')
    expect(machine.exists(policy)).toBe(false)
    expect(machine.exists('/etc/postgresql-common/createcluster.d/berth.conf')).toBe(false)
  })

  test('keeps daemons that it brought from starting at the next boot', async () => {
    await takeAway('redis-server', 'docker-registry')
    expect((await install()).code).toBe(0)
    for (const daemon of daemons) expect(isEnabled(daemon)).toBe(false)
    expect(machine.exists('/var/lib/berth-new-daemons')).toBe(false)
  })

  test('leaves daemons alone that were there before', async () => {
    await machine.run(['systemctl', 'enable', 'redis-server'])
    await takeAway('docker-registry')
    expect((await install()).code).toBe(0)
    expect(isEnabled('redis-server')).toBe(true)
    expect(isEnabled('docker-registry')).toBe(false)
  })

  test('finishes an installation that somebody else had begun, and does not call it its own', async () => {
    await write('/stub/status/redis-server', 'install ok half-configured')
    expect((await install()).code).toBe(0)
    expect(read('/stub/status/redis-server')).toBe('install ok installed')
    expect(isEnabled('redis-server')).toBe(true)
  })

  test("puts somebody else's policy back", async () => {
    await write(policy, '#!/bin/sh\n# mine\nexit 0\n', 0o755)
    await takeAway('redis-server')
    expect((await install()).code).toBe(0)
    expect(calls()).toContain('policy 101')
    expect(read(policy)).toContain('# mine')
    expect(machine.exists(`${policy}.before-berth`)).toBe(false)
  })

  test('is repaired by the next run when it was killed in the middle', async () => {
    await write(policy, '#!/bin/sh\n# mine\nexit 0\n', 0o755)
    await takeAway('redis-server', 'docker-registry')
    await write('/stub/stands-still', '')
    const cut = begin('up')
    await until(() => machine.exists('/stub/still'), { describe: 'apt-get to stand still' })
    cut.kill()
    await machine.run(['/bin/sh', '-c', 'kill -9 $(cat /stub/still)'])
    await cut.ended
    expect(read(policy)).toContain('# berth:')
    await rm(machine.path('/stub/stands-still'))

    const repaired = await install()
    expect(repaired).toMatchObject({ code: 0, errors: expect.stringContaining('Repairing an installation') })
    expect(calls()).toContain('dpkg --configure -a')
    for (const daemon of daemons) {
      expect(read(`/stub/status/${daemon}`)).toBe('install ok installed')
      expect(isEnabled(daemon)).toBe(false)
    }
    expect(read(policy)).toContain('# mine')
    expect(await install()).toEqual({ code: 0, output: '', errors: '' })
  })

  test('that fails says so and takes its policy away', async () => {
    await takeAway('redis-server')
    await write('/stub/fails', '')
    const failed = await install()
    expect(failed.code).toBe(1)
    expect(failed.errors).toContain('berth: apt-get could not install: redis-server.')
    expect(machine.exists(policy)).toBe(false)
    // What is installed later by somebody else is theirs.
    expect(machine.exists('/var/lib/berth-new-daemons')).toBe(false)
  })

  test('happens once when two checkouts ask at the same time', async () => {
    await takeAway('redis-server')
    await write('/elsewhere/install-packages', readFileSync(script, 'utf8'))
    const both = await Promise.all([install(), install('up', { file: '/elsewhere/install-packages' })])
    expect(both.map(({ code }) => code)).toEqual([0, 0])
    expect(installs()).toHaveLength(1)
  })

  test('without root names the commands and fails', async () => {
    await takeAway('redis-server', 'docker-registry')
    const refused = await install('up', { user: 4711 })
    expect(refused.code).toBe(1)
    expect(refused.errors).toContain('berth: These packages are missing; as root run:')
    expect(refused.errors).toMatch(/^ {2}sudo \/.*\/berth packages$/m)
    expect(refused.errors).toMatch(
      /^ {2}apt-get install --no-install-recommends redis-server docker-registry$/m,
    )
    expect(machine.exists('/stub/calls')).toBe(false)
  })
})

describe('what is missing', () => {
  const named = async (scope: string, more: Record<string, string> = {}) =>
    /--no-install-recommends (.*)$/m.exec((await install(scope, { user: 4711, env: more })).errors)?.[1]

  test('depends on whose stores and engine are used', async () => {
    await takeAway('redis-server', 'docker.io')
    await rm(machine.path('/usr/lib/postgresql'), { recursive: true })
    expect(await named('up')).toBe('docker.io redis-server postgresql-15')
    const foreign = { REDIS_URL: 'redis://r', DATABASE_URL: 'postgres://p', BERTH_LOCAL_NODE: 'none' }
    expect(await named('up', foreign)).toBeUndefined()
    expect(await named('all', foreign)).toBe('docker.io redis-server postgresql-15')
    expect(await named('node')).toBeUndefined()
  })

  test('is no engine where one listens, also without its program', async () => {
    await takeAway('docker.io')
    const listen = `require('node:net').createServer().listen('/run/docker.sock', () => console.log('listens'))`
    const engine = machine.begin([process.execPath, '-e', listen])
    await until(() => machine.exists('/run/docker.sock'))
    expect(await named('up')).toBeUndefined()
    engine.kill()
    await engine.ended
    await chmod(machine.path('/run/docker.sock'), 0o777)
    expect(await named('up')).toBe('docker.io')
  })

  test('are the certificates of authorities, too', async () => {
    await rm(machine.path('/etc/ssl/certs/ca-certificates.crt'))
    expect(await named('up')).toBe('ca-certificates')
  })
})
