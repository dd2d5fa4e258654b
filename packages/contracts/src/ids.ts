import { randomBytes } from 'node:crypto'

/** A string that only its own kind of thing may carry. */
export type Branded<Name extends string> = string & { readonly __brand: Name }

export type ProjectUid = Branded<'ProjectUid'>
export type ServiceUid = Branded<'ServiceUid'>
export type RevisionUid = Branded<'RevisionUid'>
export type DeploymentId = Branded<'DeploymentId'>
export type ReplicaId = Branded<'ReplicaId'>
export type NodeUid = Branded<'NodeUid'>
export type PoolUid = Branded<'PoolUid'>
export type VolumeUid = Branded<'VolumeUid'>
export type TokenId = Branded<'TokenId'>
export type RouterId = Branded<'RouterId'>
export type WorkerId = Branded<'WorkerId'>

const prefixes = {
  ProjectUid: 'prj',
  ServiceUid: 'svc',
  RevisionUid: 'rev',
  DeploymentId: 'dep',
  ReplicaId: 'rep',
  NodeUid: 'nod',
  PoolUid: 'pol',
  VolumeUid: 'vol',
  TokenId: 'tok',
  RouterId: 'rtr',
  WorkerId: 'wrk',
} as const

type Kinds = {
  ProjectUid: ProjectUid
  ServiceUid: ServiceUid
  RevisionUid: RevisionUid
  DeploymentId: DeploymentId
  ReplicaId: ReplicaId
  NodeUid: NodeUid
  PoolUid: PoolUid
  VolumeUid: VolumeUid
  TokenId: TokenId
  RouterId: RouterId
  WorkerId: WorkerId
}

const alphabet = '0123456789abcdefghijkmnpqrstvwxyz'

/**
 * A new id such as `rep-3k9d0f2m7q1xw4za`: a prefix that names the kind and 16 characters of 5 random bits
 * each (80 bits), fit for container names, labels and Redis keys.
 */
export function newId<Kind extends keyof Kinds>(kind: Kind): Kinds[Kind] {
  let text = ''
  for (const byte of randomBytes(16)) text += alphabet[byte & 31]
  return `${prefixes[kind]}-${text}` as Kinds[Kind]
}
