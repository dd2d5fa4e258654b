import { defineConfig } from 'vitest/config'

/**
 * Unit tests stand beside the code as `*.test.ts` and touch nothing outside their process.
 * Integration tests (`*.integration.test.ts`) use real Postgres, Redis and a fake engine on a unix socket.
 * Component tests (`*.component.test.ts`) do so with a whole worker, reconciler or router, which they give real seconds.
 * Machine tests (`*.machine.test.ts`) type the commands on machines of their own, with stand-ins for the apps.
 * End-to-end and chaos tests run a whole platform on real Docker Engines.
 */
export default defineConfig({
  test: {
    // Most of a test's time is waiting; by default a machine with two cores would run one file at a time.
    maxWorkers: 8,
    projects: [
      {
        test: {
          name: 'unit',
          include: [
            '{apps,packages,infra,samples,test/support,test/bench,test/chaos/suite}/**/*.test.ts',
            'test/*.test.ts',
          ],
          exclude: ['**/*.{integration,component,machine}.test.ts', '**/node_modules/**'],
          // Nothing is mocked as a module and files keep to themselves: importing everything per file doubled the time.
          isolate: false,
          // They never wait, so more workers than cores would only import everything once more each.
          maxWorkers: 2,
          sequence: { groupOrder: 1 },
          testTimeout: 20_000,
          hookTimeout: 60_000,
        },
      },
      {
        test: {
          name: 'integration',
          include: ['{apps,packages,infra}/**/*.integration.test.ts'],
          globalSetup: ['test/support/integration-stores.ts'],
          isolate: false,
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        test: {
          name: 'component',
          include: ['apps/**/*.component.test.ts'],
          globalSetup: ['test/support/integration-stores.ts'],
          isolate: false,
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        test: {
          name: 'machine',
          include: ['infra/**/*.machine.test.ts'],
          testTimeout: 120_000,
          hookTimeout: 60_000,
        },
      },
      {
        test: {
          name: 'e2e',
          include: ['test/{e2e,conformance}/**/*.test.ts'],
          globalSetup: ['test/support/platform-setup.ts'],
          fileParallelism: false,
          testTimeout: 180_000,
          hookTimeout: 240_000,
        },
      },
      {
        test: {
          name: 'chaos',
          include: ['test/chaos/*.test.ts'],
          globalSetup: ['test/support/platform-setup.ts'],
          fileParallelism: false,
          testTimeout: 300_000,
          hookTimeout: 240_000,
        },
      },
    ],
  },
})
