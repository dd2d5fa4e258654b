import type { AccessLine } from '../exchange/access-line.ts'

export function anAccessLine(changes: Partial<AccessLine> = {}): AccessLine {
  return {
    outcome: 'answered',
    requestId: 'id',
    method: 'GET',
    host: 'hello.localhost',
    path: '/',
    status: 200,
    ms: 1,
    queuedMs: 0,
    bytes: 0,
    retries: 0,
    project: 'default',
    service: 'hello',
    ...changes,
  }
}
