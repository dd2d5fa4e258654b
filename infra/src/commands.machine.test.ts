import { execFileSync } from 'node:child_process'
import { readFileSync, statSync } from 'node:fs'
import { mkdir, rm, symlink, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { openDatabase, schema } from '@berth/db'
import { insertNode } from '@berth/db/testing'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { callHttp } from './http-call.ts'
import { runFolderAt } from './run-folder.ts'
import { privateDatabaseUrl } from './stores/postgres.ts'
import { type BerthMachine, startBerthMachine } from './testing/berth-machine.ts'

/* What the commands say and do around a Berth that runs, or does not. */

let berth: BerthMachine

beforeAll(async () => {
  berth = await startBerthMachine({ migrated: true })
})

afterAll(() => berth.close())

const refused = (sentence: string | RegExp) => ({
  code: 1,
  output: expect.any(String) as string,
  errors: typeof sentence === 'string' ? `berth: ${sentence}\n` : (expect.stringMatching(sentence) as string),
})

/** The database of the machine, reached from here. */
async function inDatabase<Value>(
  work: (db: ReturnType<typeof openDatabase>) => Promise<Value>,
): Promise<Value> {
  const [folder] = execFileSync('ls', [berth.machine.path('/run')], { encoding: 'utf8' })
    .split('\n')
    .filter((name) => name.startsWith('berth-') && !name.endsWith('.lock'))
  const url = privateDatabaseUrl(runFolderAt(berth.machine.path(`/run/${folder}`)))
  const db = openDatabase(url, { applicationName: 'berth-test', maxConnections: 1 })
  try {
    return await work(db)
  } finally {
    await db.close()
  }
}

const nodeNames = () =>
  inDatabase(async (db) =>
    (await db.select({ name: schema.nodes.name }).from(schema.nodes)).map(({ name }) => name),
  )

describe('beside a Berth that runs', () => {
  beforeAll(async () => {
    expect(await berth.berth(['up'])).toMatchObject({ code: 0 })
  })

  test('up with other settings says which do not count', async () => {
    const { code, output } = await berth.berth(['up'], {
      BERTH_LOG_LEVEL: 'debug',
      BERTH_DOMAIN: 'example.org',
    })
    expect(code).toBe(0)
    expect(output).toContain(
      'Berth runs with other values of BERTH_DOMAIN, BERTH_LOG_LEVEL; ./berth down and ./berth up apply those of now.',
    )
    expect((await berth.berth(['up'])).output).not.toContain('other values')
  })

  test('up on other ports is refused', async () => {
    expect(await berth.berth(['up'], { BERTH_API_PORT: '1' })).toEqual(
      refused(/^berth: Berth is running with api on port \d+; run \.\/berth down before moving it to 1\.\n$/),
    )
  })

  describe('an image', () => {
    const registry = () => `127.0.0.1:${berth.ports.registry}`
    const folder = '/srv/shop'

    beforeAll(async () => {
      await mkdir(berth.machine.path(`${folder}/node_modules/left-pad`), { recursive: true })
      await mkdir(berth.machine.path(`${folder}/lib`))
      for (const file of [
        'main.js',
        'lib/price.js',
        'lib/price.test.js',
        '.env',
        'node_modules/left-pad/index.js',
      ])
        await writeFile(berth.machine.path(join(folder, file)), `// ${file}\n`)
      await symlink('/etc', berth.machine.path(join(folder, 'linked')))
    })

    test('is packed and pushed, and what stayed behind is named', async () => {
      const { code, output, errors } = await berth.berth(['image', 'push', folder, `${registry()}/shop:1`])
      expect({ code, errors }).toEqual({ code: 0, errors: '' })
      expect(output).toContain(
        'Left out: .env, lib/price.test.js, linked, node_modules (dependencies, tests, documents, linked folders and hidden files are not packed).',
      )
      const digest = /^\S+\/shop:1 is (sha256:[0-9a-f]{64})$/m.exec(output)?.[1]
      const manifest = await callHttp({
        target: { port: berth.ports.registry },
        path: `/v2/shop/manifests/${digest}`,
        headers: { accept: 'application/vnd.oci.image.manifest.v1+json' },
      })
      expect(manifest.status).toBe(200)
      const { layers } = JSON.parse(manifest.body) as { layers: { digest: string }[] }
      expect(layers).toHaveLength(2)
    })

    test('is packed into an archive as docker load takes it', async () => {
      const { code, output } = await berth.berth(['image', 'build', folder, '/srv/shop.tar'])
      expect(code).toBe(0)
      expect(output).toContain('/srv/shop.tar holds shop:latest; load it with docker load -i /srv/shop.tar\n')
      const read = (...args: string[]) =>
        execFileSync('tar', ['-xOf', ...args], { encoding: 'buffer', maxBuffer: 1e9 })
      const archive = berth.machine.path('/srv/shop.tar')
      const [{ RepoTags, Layers }] = JSON.parse(read(archive, 'manifest.json').toString()) as [
        { RepoTags: string[]; Layers: string[] },
      ]
      expect(RepoTags).toEqual(['shop:latest'])
      const app = execFileSync('tar', ['-tz'], {
        input: read(archive, Layers.at(-1) ?? ''),
        encoding: 'utf8',
      })
      expect(app.trim().split('\n')).toEqual(['app/', 'app/lib/', 'app/lib/price.js', 'app/main.js'])
    })

    test.each([
      [['push', '/srv/nothing', '127.0.0.1:1/a:1'], /The folder \/srv\/nothing cannot be read: ENOENT/],
      [['push', '/etc/hostname', '127.0.0.1:1/a:1'], /The folder \/etc\/hostname cannot be read: ENOTDIR/],
      [['push', '/srv', '127.0.0.1:1/a:1'], /\/srv has no main\.js; name the program as "main"/],
      [
        ['push', folder, '127.0.0.1:1/a:1'],
        /The registry at 127\.0\.0\.1:1 does not answer \(.*ECONNREFUSED/,
      ],
      [['push', folder, 'docker.io/a'], /"docker\.io\/a" must look like 127\.0\.0\.1:5050\/hello:1/],
      [['build', folder, '/srv/no/where.tar'], /\/srv\/no\/where\.tar cannot be written: ENOENT/],
    ])('%j is refused in one sentence', async (words, sentence) => {
      const { code, errors } = await berth.berth(['image', ...words])
      expect(code).toBe(1)
      expect(errors).toMatch(sentence)
      expect(errors.trim().split('\n')).toHaveLength(1)
    })
  })

  test('a backup holds the database and not the key, is made up or down, and is restored where there is none', async () => {
    await inDatabase((db) => insertNode(db, { name: 'kept', endpoint: 'unix:///nonexistent' }))
    const { code, output } = await berth.berth(['backup', '/srv/copies'])
    expect(code).toBe(0)
    const file = /^(\/srv\/copies\/berth-\d{8}T\d{6}Z\.dump) holds the database\.$/m.exec(output)?.[1] ?? ''
    expect(output).toContain(`${berth.data}/master.key, which never changes: keep a copy in another place.`)
    expect((statSync(berth.machine.path(file)).mode & 0o777).toString(8)).toBe('600')
    const key = readFileSync(berth.machine.path(`${berth.data}/master.key`), 'utf8').trim()
    expect(readFileSync(berth.machine.path(file), 'latin1')).not.toContain(key)

    expect(await berth.berth(['restore', file])).toEqual(
      refused('Berth is running; run ./berth down before a restore.'),
    )
    await inDatabase((db) => db.delete(schema.nodes))
    expect(await berth.berth(['down'])).toMatchObject({ code: 0 })
    expect(await berth.berth(['backup', '/srv/cold'])).toMatchObject({ code: 0, errors: '' })
    expect(await berth.berth(['restore', file])).toEqual(
      refused(
        `The database is not empty; move ${berth.data}/postgres away, or name an empty database in DATABASE_URL.`,
      ),
    )
    await rm(berth.machine.path(`${berth.data}/postgres`), { recursive: true })
    expect(await berth.berth(['restore', file])).toMatchObject({ code: 0, errors: '' })
    expect(await berth.berth(['up'])).toMatchObject({ code: 0, errors: '' })
    expect(await nodeNames()).toEqual(['kept'])
  })

  test('down names the node that does not answer, and everything else is down', async () => {
    const silent = createServer()
    await new Promise<void>((resolve) => {
      silent.listen(0, '127.0.0.1', resolve)
    })
    const address = silent.address()
    const endpoint = `tcp://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`
    await inDatabase(async (db) => {
      await db.delete(schema.nodes)
      await insertNode(db, { name: 'silent', endpoint })
    })
    const { code, output, errors } = await berth.berth(['down'])
    silent.close()
    expect(code).toBe(1)
    expect(output).toContain('Berth is down (0 containers removed).')
    expect(errors).toMatch(
      new RegExp(
        `^berth: Containers are left on node silent \\(${endpoint}\\): .*; run ./berth down again when it answers\\.\n$`,
      ),
    )
    expect(await berth.processes()).toEqual(new Map())
  })
})

describe('up that cannot start', () => {
  afterEach(async () => {
    expect(await berth.processes()).toEqual(new Map())
  })

  test.each([
    [
      'a database that does not answer',
      { DATABASE_URL: 'postgres://berth:secret@127.0.0.1:1/berth' },
      'DATABASE_URL does not answer (ECONNREFUSED); check it, or unset it for a private Postgres.',
    ],
    [
      'a database URL that is none',
      { DATABASE_URL: 'postgres://[nowhere' },
      'DATABASE_URL is not a URL of a Postgres database; check it, or unset it for a private Postgres.',
    ],
    [
      'a Redis that does not answer',
      { REDIS_URL: 'redis://127.0.0.1:1' },
      /REDIS_URL does not answer: .*ECONNREFUSED/,
    ],
  ])('because of %s says so in one sentence', async (_, env, sentence) => {
    const outcome = await berth.berth(['up'], env)
    expect(outcome).toEqual(refused(sentence))
    expect(outcome.errors.trim().split('\n')).toHaveLength(1)
    expect(outcome.errors).not.toContain('secret')
  })

  test('because of what it finds in the data folder says so in one sentence', async () => {
    await rm(berth.machine.path(`${berth.data}/registry`), { recursive: true, force: true })
    await writeFile(berth.machine.path(`${berth.data}/registry`), '')
    expect(await berth.berth(['up'])).toEqual(
      refused(/^berth: Berth could not start: EEXIST.*registry'\.\n$/),
    )
    await rm(berth.machine.path(`${berth.data}/registry`))
  })
})
