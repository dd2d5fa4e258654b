export type { FakeAppBehaviour, FakeContainer } from './fake-container.ts'
export { type FakeEngine, type FakeEngineOptions, startFakeEngine } from './fake-engine.ts'
export type { Fault } from './fault-plan.ts'
export { heldFence, lostFence } from './fences.ts'
