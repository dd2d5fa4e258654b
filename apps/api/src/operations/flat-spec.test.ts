import { revisionTemplate, serviceSpec } from '@berth/contracts'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { fromTemplate, toTemplate } from './flat-spec.ts'

const base = { name: 'hello', image: 'hello' }
const specs = [
  {},
  { cpu: '250m', memory: '1.5Gi', port: 3000, command: ['/app'], args: ['-v'] },
  { concurrency: 0, timeoutSeconds: 3600, pool: 'fast', nodeSelector: { disk: 'ssd' } },
  { readinessProbe: { httpGet: { path: '/ready', port: 8080, httpHeaders: [{ name: 'A', value: 'b' }] } } },
  { startupProbe: { tcpSocket: {}, periodSeconds: 2 }, livenessProbe: { grpc: { service: 'health' } } },
  {
    protocol: 'h2c',
    readinessProbe: { grpc: { port: 50_051 } },
    livenessProbe: { tcpSocket: { port: 8080 } },
  },
]

test.each(specs)('%j becomes a template and comes back as it was', (fields) => {
  const template = toTemplate(serviceSpec.parse({ ...base, ...fields }))
  expect(revisionTemplate.parse(template)).toEqual(template)
  const again = serviceSpec.parse({ ...base, ...fromTemplate(template) })
  expect(toTemplate(again)).toEqual(template)
  expect(fromTemplate(toTemplate(again))).toEqual(fromTemplate(template))
})

test('the port says what is spoken on it, HTTP/1.1 unless said', () => {
  const spoken = (spec: object) => toTemplate(serviceSpec.parse({ ...base, ...spec })).containers[0]?.ports
  expect(spoken({})).toEqual([{ port: 8080, protocol: 'http1' }])
  expect(spoken({ protocol: 'h2c' })).toEqual([{ port: 8080, protocol: 'h2c' }])
  expect(fromTemplate(toTemplate(serviceSpec.parse({ ...base, protocol: 'h2c' }))).protocol).toBe('h2c')
})

test('amounts are kept exactly', () => {
  const cpu = fc.oneof(
    fc.double({ min: 0.05, max: 64, noNaN: true }),
    fc.integer({ min: 50, max: 64_000 }).map((millis) => `${millis}m`),
  )
  const memory = fc.double({ min: 1, max: 500, noNaN: true }).map((amount) => `${amount.toFixed(3)}Gi`)
  fc.assert(
    fc.property(cpu, memory, (cpu, memory) => {
      const template = toTemplate(serviceSpec.parse({ ...base, cpu, memory }))
      const again = serviceSpec.parse({ ...base, ...fromTemplate(template) })
      expect(toTemplate(again)).toEqual(template)
    }),
  )
  const flat = fromTemplate(toTemplate(serviceSpec.parse({ ...base, cpu: '250m', memory: '1.1Gi' })))
  expect(flat).toMatchObject({ cpu: 0.25, memory: '1.1Gi' })
})
