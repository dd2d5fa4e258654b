import type { ExplanationFinding } from '@berth/contracts'
import type { desired } from '@berth/db'
import { sentence } from './sentences.ts'

/** Nodes of the service's pool that take nothing. */
export function nodeFindings({ service, nodes }: desired.ExplanationFacts): ExplanationFinding[] {
  return nodes
    .filter(({ pool }) => pool === service.template.pool)
    .flatMap(({ name, reachability, scheduling, message, lastSeenAt }): ExplanationFinding[] => {
      const told = { about: 'node', node: name } as const
      const seen = lastSeenAt === null ? {} : { at: lastSeenAt.toISOString() }
      if (reachability === 'down')
        return [
          {
            ...told,
            severity: 'warning',
            message: sentence(`${name} is down${message === null ? '' : `: ${message}`}`),
            ...seen,
          },
        ]
      if (scheduling === 'active') return []
      return [
        { ...told, severity: 'info', message: `${name} is ${scheduling}: nothing new is placed there.` },
      ]
    })
}
