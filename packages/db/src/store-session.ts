import { sql, type ExtractTablesWithRelations, type Query } from 'drizzle-orm'
import type { WithCacheConfig } from 'drizzle-orm/cache/core/types'
import { NodePgSession, NodePgTransaction, type NodePgClient } from 'drizzle-orm/node-postgres/session'
import type {
  PgDialect,
  PgPreparedQuery,
  PgTransactionConfig,
  PreparedQueryConfig,
  SelectedFieldsOrdered,
} from 'drizzle-orm/pg-core'
import type { Pool, PoolClient } from 'pg'
import { translateStoreError } from './store-error.ts'

type NoSchema = Record<string, never>
type NoTables = ExtractTablesWithRelations<NoSchema>

/** Inside a transaction everything is done through this. */
export type Transaction = NodePgTransaction<NoSchema, NoTables>

/**
 * The one place through which every statement goes, so that no error of drizzle or pg, which shows SQL and
 * parameters, leaves the package.
 */
export class StoreSession extends NodePgSession<NoSchema, NoTables> {
  readonly #dialect: PgDialect
  readonly #pool: Pool | undefined

  constructor(client: NodePgClient, dialect: PgDialect, pool?: Pool) {
    super(client, dialect, undefined)
    this.#dialect = dialect
    this.#pool = pool
  }

  override prepareQuery<T extends PreparedQueryConfig = PreparedQueryConfig>(
    query: Query,
    fields: SelectedFieldsOrdered | undefined,
    name: string | undefined,
    isResponseInArrayMode: boolean,
    customResultMapper?: (rows: unknown[][]) => T['execute'],
    queryMetadata?: { type: 'select' | 'update' | 'delete' | 'insert'; tables: string[] },
    cacheConfig?: WithCacheConfig,
  ): PgPreparedQuery<T> {
    const prepared = super.prepareQuery<T>(
      query,
      fields,
      name,
      isResponseInArrayMode,
      customResultMapper,
      queryMetadata,
      cacheConfig,
    )
    const execute = prepared.execute.bind(prepared)
    prepared.execute = async (values) => {
      try {
        return await execute(values)
      } catch (error) {
        throw translateStoreError(error)
      }
    }
    return prepared
  }

  override async transaction<T>(
    run: (tx: Transaction) => Promise<T>,
    config: PgTransactionConfig = {},
  ): Promise<T> {
    if (!this.#pool) throw new Error('a transaction begins at the database')
    const client = await this.#connect(this.#pool)
    const tx: Transaction = new NodePgTransaction(
      this.#dialect,
      new StoreSession(client, this.#dialect),
      undefined,
    )
    let broken: Error | undefined
    try {
      await tx.execute(sql.raw(beginStatement(config)))
      const result = await run(tx)
      await tx.execute(sql`commit`)
      return result
    } catch (error) {
      await tx.execute(sql`rollback`).catch((failure: Error) => {
        broken = failure
      })
      throw error
    } finally {
      client.release(broken)
    }
  }

  async #connect(pool: Pool): Promise<PoolClient> {
    try {
      return await pool.connect()
    } catch (error) {
      throw translateStoreError(error)
    }
  }
}

function beginStatement({ isolationLevel, accessMode, deferrable }: PgTransactionConfig): string {
  const isolation = isolationLevel === undefined ? '' : ` isolation level ${isolationLevel}`
  const access = accessMode === undefined ? '' : ` ${accessMode}`
  return `begin${isolation}${access}${deferrable === true ? ' deferrable' : ''}`
}
