import { expect, test } from 'vitest'
import { mountShelter } from './shelter.ts'

const shelter = mountShelter('/srv/berth/infra/enter-shelter', [
  { real: '/srv/berth', seen: '/run/b/project' },
  { real: '/srv/berth/.berth', seen: '/run/b/data' },
])

test('data inside the project is seen in the place of the data', () => {
  expect(shelter.path('/srv/berth/.berth/postgres')).toBe('/run/b/data/postgres')
  expect(shelter.path('/srv/berth/apps/router/src/main.ts')).toBe('/run/b/project/apps/router/src/main.ts')
})

test('other paths stay, also those that only begin alike', () => {
  expect(shelter.path('/usr/bin/redis-server')).toBe('/usr/bin/redis-server')
  expect(shelter.path('/srv/berth2/x')).toBe('/srv/berth2/x')
})

test('a process of another user enters through the script, one of our own does not', () => {
  expect(shelter.enter(['redis-server'], undefined)).toEqual({ command: ['redis-server'] })
  const { command } = shelter.enter(['redis-server'], { uid: 7, gid: 8 })
  expect(command.slice(0, 6)).toEqual([
    'unshare',
    '--mount',
    '--propagation',
    'private',
    '/bin/sh',
    '/srv/berth/infra/enter-shelter',
  ])
  const places = ['/srv/berth', '/run/b/project', '/srv/berth/.berth', '/run/b/data']
  expect(command.slice(6)).toEqual(['7', '8', ...places, 'redis-server'])
})
