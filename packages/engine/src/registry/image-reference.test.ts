import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { formatReference, parseReference } from './image-reference.ts'

const hex = '0123456789abcdef'.repeat(4)
const digest = `sha256:${hex}`

/** The tables of distribution/reference (`reference_test.go`, `normalize_test.go`) and of reliability cases 90 to 94. */
const accepted: [string, string][] = [
  ['hello', 'docker.io/library/hello:latest'],
  ['hello:1', 'docker.io/library/hello:1'],
  ['docker/docker', 'docker.io/docker/docker:latest'],
  ['library/debian', 'docker.io/library/debian:latest'],
  ['docker.io/docker/docker', 'docker.io/docker/docker:latest'],
  ['docker.io/library/debian', 'docker.io/library/debian:latest'],
  ['docker.io/debian', 'docker.io/library/debian:latest'],
  ['index.docker.io/docker/docker', 'docker.io/docker/docker:latest'],
  ['index.docker.io/library/debian', 'docker.io/library/debian:latest'],
  ['index.docker.io/debian', 'docker.io/library/debian:latest'],
  ['127.0.0.1:5000/docker/docker', '127.0.0.1:5000/docker/docker:latest'],
  ['127.0.0.1:5000/debian', '127.0.0.1:5000/debian:latest'],
  ['192.168.0.1', 'docker.io/library/192.168.0.1:latest'],
  ['192.168.0.1:80', 'docker.io/library/192.168.0.1:80'],
  ['test.com:tag', 'docker.io/library/test.com:tag'],
  ['test.com:5000', 'docker.io/library/test.com:5000'],
  ['test.com/repo:tag', 'test.com/repo:tag'],
  ['test:5000/repo', 'test:5000/repo:latest'],
  ['test:5000/repo:tag', 'test:5000/repo:tag'],
  [`test:5000/repo@${digest}`, `test:5000/repo@${digest}`],
  [`test:5000/repo:tag@${digest}`, `test:5000/repo:tag@${digest}`],
  ['localhost/hello', 'localhost/hello:latest'],
  ['lowercase:Uppercase', 'docker.io/library/lowercase:Uppercase'],
  ['a/a/a/a/a/a/b/a/a/a/a', 'docker.io/a/a/a/a/a/a/b/a/a/a/a:latest'],
  ['sub-dom1.foo.com/bar/baz/quux', 'sub-dom1.foo.com/bar/baz/quux:latest'],
  ['sub-dom1.foo.com/bar/baz/quux:some-long-tag', 'sub-dom1.foo.com/bar/baz/quux:some-long-tag'],
  ['b.gcr.io/test.example.com/my-app:test.example.com', 'b.gcr.io/test.example.com/my-app:test.example.com'],
  ['xn--n3h.com/myimage:xn--n3h.com', 'xn--n3h.com/myimage:xn--n3h.com'],
  ['foo_bar.com:8080', 'docker.io/library/foo_bar.com:8080'],
  ['foo/foo_bar.com:8080', 'docker.io/foo/foo_bar.com:8080'],
  ['aa/aa/aa__bb', 'docker.io/aa/aa/aa__bb:latest'],
  ['dock__er/docker', 'docker.io/dock__er/docker:latest'],
  ['d-c/c---d', 'docker.io/d-c/c---d:latest'],
  ['[::1]:5000/repo:tag', '[::1]:5000/repo:tag'],
  ['[2001:db8::1]/repo', '[2001:db8::1]/repo:latest'],
  ['Docker/docker', 'Docker/docker:latest'],
  ['Registry.Example.com:5000/repo', 'registry.example.com:5000/repo:latest'],
  ['LOCALHOST/repo', 'localhost/repo:latest'],
  ['Docker.IO/docker', 'docker.io/library/docker:latest'],
  ['registry-1.docker.io/docker/docker', 'docker.io/docker/docker:latest'],
  ['192.168.0.1:80/repo', '192.168.0.1:80/repo:latest'],
  ['[2001:db8:0:0::1]:5000/repo', '[2001:db8:0:0::1]:5000/repo:latest'],
  [`test:tag@${digest}`, `docker.io/library/test:tag@${digest}`],
  ['x.com/' + 'a'.repeat(240), `x.com/${'a'.repeat(240)}:latest`],
  [`x:${'t'.repeat(128)}`, `docker.io/library/x:${'t'.repeat(128)}`],
  [hex.slice(1), `docker.io/library/${hex.slice(1)}:latest`],
]

const refused = [
  '',
  ' ',
  ':justtag',
  `@${digest}`,
  'repo@sha256:ffffffffffffffffffffffffffffffffff',
  'repo@sha256:short',
  `validname@invaliddigest:${hex.repeat(2)}`,
  `repo@sha256:${hex.toUpperCase()}`,
  'Uppercase:tag',
  'test:5000/Uppercase/lowercase:tag',
  'docker.io/Docker/docker',
  'aa/asdf$$^/aa',
  'https://github.com/docker/docker',
  'docker/Docker',
  '-docker',
  '-docker/docker',
  '-docker.io/docker/docker',
  'docker///docker',
  'docker.io/docker/Docker',
  'docker.io/docker///docker',
  '[fe80::1%eth0]:5000/repo',
  '[fe80::1%@invalidzone]:5000/repo',
  '[2001:db8::1]:repo',
  '[2001:db8::1/repo',
  hex,
  'a/',
  'a//a',
  'a/_a',
  'a_/a',
  'a___b',
  'a..b/c',
  '../etc',
  'x/../y',
  'hello:',
  'hello:.tag',
  'hello:-tag',
  `hello:${'t'.repeat(129)}`,
  'hello: 1',
  'hello:1\n',
  'hello\n',
  '\nhello',
  'hel lo',
  '--privileged',
  'hello@',
  'hello:1@',
  'hello:1:2',
  'host:0/hello',
  '300.300.300.300/app',
  '1.2.3.4.5/app',
  '127.1/app',
  '0x7f.0.0.1/app',
  '0127.0.0.1/app',
  '[:]/x',
  '[::1::2]/x',
  '[12345::]/x',
  `repo@sha512:${hex.repeat(2)}`,
  'host:65536/hello',
  'host:port/hello',
  'h\u0435llo',
  'hel\u200blo',
  'hello\u0000',
  'scratch',
  'scratch:1',
  'docker.io/library/scratch',
  `x.com/${'a'.repeat(250)}`,
  `x/${'a/'.repeat(2000)}b`,
  '$(id)',
  'a;reboot',
]

describe('an image reference', () => {
  test.each(accepted)('%s is %s', (text, normal) => {
    expect(formatReference(parseReference(text))).toBe(normal)
  })

  test.each(refused)('%j is refused', (text) => {
    expect(() => parseReference(text)).toThrow(/the image reference/)
  })

  test('has a tag unless it has a digest', () => {
    expect(parseReference('a')).toEqual({ registry: 'docker.io', repository: 'library/a', tag: 'latest' })
    expect(parseReference(`a@${digest}`)).toEqual({ registry: 'docker.io', repository: 'library/a', digest })
  })

  test('that is accepted is accepted again as it is written out, and means the same', () => {
    const text = fc.oneof(
      fc.string(),
      fc.stringMatching(/^[a-z.:/@_-]{1,30}$/),
      fc.constantFrom(...accepted.map(([text]) => text)),
    )
    fc.assert(
      fc.property(text, (text) => {
        let parsed
        try {
          parsed = parseReference(text)
        } catch {
          return
        }
        expect(parseReference(formatReference(parsed))).toEqual(parsed)
      }),
    )
  })
})
