import { describe, expect, test } from 'vitest'
import type { AppSpec } from './container-runtime.ts'
import { appBody, runsAsRoot, sandboxBody } from './container-spec.ts'

const app: AppSpec = {
  name: 'a',
  sandboxId: 'f00',
  image: 'sha256:1',
  command: [],
  args: [],
  env: { B: '2', A: '1' },
  memoryBytes: 64 * 1024 ** 2,
  cpuMillis: 500,
  labels: { 'berth.role': 'app' },
}

describe('an app container', () => {
  test('gets exactly these options and no others', () => {
    expect(appBody(app, '1000', 4)).toEqual({
      Image: 'sha256:1',
      Labels: { 'berth.role': 'app' },
      Env: ['A=1', 'B=2'],
      Healthcheck: { Test: ['NONE'] },
      HostConfig: {
        NetworkMode: 'container:f00',
        CapDrop: ['ALL'],
        CapAdd: [],
        SecurityOpt: ['no-new-privileges:true'],
        Memory: 67_108_864,
        MemorySwap: 67_108_864,
        NanoCpus: 500_000_000,
        PidsLimit: 512,
        Init: true,
        RestartPolicy: { Name: 'no' },
        CgroupnsMode: 'private',
        IpcMode: 'private',
        LogConfig: { Type: 'json-file', Config: { 'max-size': '10m', 'max-file': '3' } },
      },
    })
  })

  test('of an image that runs as root gets back seven capabilities', () => {
    expect(appBody(app, '', 4).HostConfig.CapAdd).toEqual([
      'CHOWN',
      'DAC_OVERRIDE',
      'FOWNER',
      'SETUID',
      'SETGID',
      'KILL',
      'NET_BIND_SERVICE',
    ])
  })

  test('never asks for more cores than the node has', () => {
    expect(appBody({ ...app, cpuMillis: 8000 }, '1000', 2).HostConfig.NanoCpus).toBe(2_000_000_000)
  })

  test('replaces entrypoint and command only where they are given', () => {
    const body = appBody({ ...app, command: ['/bin/a'], args: ['b'], workdir: '/w' }, '1000', 2)
    expect(body).toMatchObject({ Entrypoint: ['/bin/a'], Cmd: ['b'], WorkingDir: '/w' })
  })
})

describe('a sandbox', () => {
  test('publishes one port on one address and may do nothing', () => {
    const body = sandboxBody({
      name: 's',
      network: 'n',
      hostAddress: '127.0.0.2',
      hostPort: 20_001,
      containerPort: 8080,
      image: 'berth-sandbox:1',
      labels: {},
    })
    expect(body.ExposedPorts).toEqual({ '8080/tcp': {} })
    expect(body.User).toBe('65532:65532')
    expect(body.HostConfig).toMatchObject({
      NetworkMode: 'n',
      PortBindings: { '8080/tcp': [{ HostIp: '127.0.0.2', HostPort: '20001' }] },
      CapDrop: ['ALL'],
      CapAdd: [],
      ReadonlyRootfs: true,
    })
  })
})

describe('the user of an image', () => {
  test.each(['', '0', '00', 'root', '0:1000', 'root:root', ':1000'])('"%s" is root', (user) => {
    expect(runsAsRoot(user)).toBe(true)
  })
  test.each(['1000', 'node', '65532:65532', '1:0', 'rooted'])('"%s" is not root', (user) => {
    expect(runsAsRoot(user)).toBe(false)
  })
})
