export * as schema from './schema.ts'
export type { Condition } from './schema.ts'
