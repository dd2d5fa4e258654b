import { expect, test } from 'vitest'
import { nextCommands } from './next-commands.ts'
import { aCondition, aDeployment, aRevision, theFacts } from './testing/facts.ts'

const place = {
  origin: 'http://127.0.0.1:8081',
  prefix: '/projects/acme',
  url: 'http://hello--acme.localhost',
}
const at = 'http://127.0.0.1:8081/projects/acme'
const token = '-H "Authorization: Bearer $token"'

const broken = (reason: string, message = 'so it is') =>
  nextCommands(theFacts(), aCondition({ status: 'False', reason, message }), place).map(
    ({ command }) => command,
  )

test.each([
  ['ImageNotFound', "docker push '127.0.0.1:5050/app:1'"],
  [
    'ImagePullFailed',
    `curl -X PATCH ${token} --json '{"image":"127.0.0.1:5050/app:1"}' '${at}/services/hello'`,
  ],
  [
    'RegistryAuthRequired',
    `curl -X PUT ${token} --json '{"username":"NAME","password":"PASSWORD"}' '${at}/registries/127.0.0.1:5050'`,
  ],
  ['OutOfMemory', `curl -X PATCH ${token} --json '{"memory":"128Mi"}' '${at}/services/hello'`],
  ['Unplaceable', `curl ${token} 'http://127.0.0.1:8081/nodes'`],
  ['VolumeLost', `curl ${token} '${at}/volumes'`],
  ['NodeLost', `curl ${token} 'http://127.0.0.1:8081/nodes'`],
  ['AppCrashed', `curl ${token} '${at}/services/hello/logs?tail=100'`],
  ['ProbeFailed', `curl ${token} '${at}/services/hello/logs?tail=100'`],
])('%s is met with %s', (reason, command) => {
  expect(broken(reason)[0]).toBe(command)
})

test('less memory is worth asking for only where memory is what was refused', () => {
  const smaller = `curl -X PATCH ${token} --json '{"memory":"32Mi"}' '${at}/services/hello'`
  expect(broken('Unplaceable', '1 node: memory 64Mi asked, 0 free')).toContain(smaller)
  expect(broken('Unplaceable', '1 node: cordoned')).not.toContain(smaller)
})

test('an app that listens elsewhere gets that port, unless nobody outside can reach it', () => {
  expect(broken('NotListening', 'expected :8080, found 127.0.0.1:9000, 0.0.0.0:3000')[0]).toContain(
    '{"port":3000}',
  )
  expect(broken('NotListening', 'expected :8080, found 127.0.0.1:3000')[0]).toContain('/logs')
  expect(broken('NotListening', 'expected :8080, found nothing')[0]).toContain('/logs')
})

test('a revision that was ready before is the way back', () => {
  const facts = theFacts({
    revisions: [aRevision(1), aRevision(2), aRevision(3, { readyAt: null })],
    status: { ...theFacts().status, traffic: [{ revision: 'hello-00002', percent: 100, tag: null }] },
  })
  const commands = nextCommands(facts, aCondition({ status: 'False', reason: 'AppCrashed' }), place)
  expect(commands.map(({ command }) => command)).toContain(
    `curl ${token} --json '{"revision":"hello-00001"}' '${at}/services/hello/rollback'`,
  )
})

test('an open deployment can be followed', () => {
  const commands = nextCommands(theFacts({ open: aDeployment() }), aCondition(), place)
  expect(commands[0]?.command).toBe(`curl ${token} '${at}/deployments/dep-2/events'`)
})

test('whatever is in an argument stays one word of the shell', () => {
  const facts = theFacts()
  const container = facts.service.template.containers[0]
  if (container) container.image = "it's/$(x)"
  const [push] = nextCommands(facts, aCondition({ status: 'False', reason: 'ImageNotFound' }), place)
  expect(push?.command).toBe(String.raw`docker push 'it'\''s/$(x)'`)
})
