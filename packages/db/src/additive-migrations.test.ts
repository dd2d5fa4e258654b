import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'

/*
 * During an upgrade the processes of the version before go on with the new schema, and after a downgrade they do for
 * good. So a migration only adds, and what it adds may be left out by who does not know it.
 */

const folder = join(import.meta.dirname, '../migrations')
/** Those before were never part of a release. */
const firstBound = '0002'

/** Why the version before could not go on after a statement; null when it can. */
function breaks(statement: string): string | null {
  const text = statement.replaceAll(/\s+/g, ' ').trim()
  if (/\bdrop (table|column|type|view|default|schema)\b/i.test(text)) return 'takes away what is used'
  if (/\brename\b/i.test(text)) return 'renames what is used'
  if (/\balter column\b.*\b(set data type|type)\b/i.test(text)) return 'changes a type'
  if (/\bset not null\b/i.test(text)) return 'demands what is not written yet'
  if (/\badd column\b.*\bnot null\b/i.test(text) && !/\bdefault\b/i.test(text))
    return 'demands what is not written yet'
  if (/\badd (constraint|check|unique)\b/i.test(text)) return 'refuses what was allowed'
  if (/\bcreate unique index\b/i.test(text)) return 'refuses what was allowed'
  return null
}

/** Tables that a migration makes itself bind nobody yet. */
function bindsOthers(statement: string, made: ReadonlySet<string>): boolean {
  const table = /\b(?:alter table|on) "?(\w+)"?/i.exec(statement)?.[1]
  return table === undefined || !made.has(table)
}

function problemsOf(sql: string): string[] {
  const made = new Set([...sql.matchAll(/create table "?(\w+)"?/gi)].map((match) => match[1] ?? ''))
  return sql
    .split('--> statement-breakpoint')
    .filter((statement) => bindsOthers(statement, made))
    .flatMap((statement) => {
      const why = breaks(statement)
      return why === null ? [] : [`${why}: ${statement.trim()}`]
    })
}

const files = readdirSync(folder)
  .filter((name) => name.endsWith('.sql') && name >= firstBound)
  .sort()

test.each(files)('%s lets the version before go on', (name) => {
  expect(problemsOf(readFileSync(join(folder, name), 'utf8'))).toEqual([])
})

describe('what the version before could not live with', () => {
  test.each([
    'ALTER TABLE "pools" DROP COLUMN "name";',
    'ALTER TABLE "pools" RENAME COLUMN "name" TO "title";',
    'ALTER TABLE "pools" ALTER COLUMN "name" SET DATA TYPE integer;',
    'ALTER TABLE "pools" ALTER COLUMN "name" SET NOT NULL;',
    'ALTER TABLE "pools" ADD COLUMN "weight" integer NOT NULL;',
    'ALTER TABLE "pools" ADD CONSTRAINT "small" CHECK (weight < 3);',
    'CREATE UNIQUE INDEX "one" ON "pools" USING btree ("name");',
    'DROP TABLE "pools";',
  ])('%s', (statement) => {
    expect(problemsOf(statement)).toHaveLength(1)
  })

  test.each([
    'ALTER TABLE "pools" ADD COLUMN "weight" integer;',
    'ALTER TABLE "pools" ADD COLUMN "weight" integer DEFAULT 1 NOT NULL;',
    'CREATE TABLE "racks" ("name" text NOT NULL);--> statement-breakpoint\nCREATE UNIQUE INDEX "one" ON "racks" USING btree ("name");',
    'CREATE INDEX "many" ON "pools" USING btree ("name");',
  ])('is not: %s', (sql) => {
    expect(problemsOf(sql)).toEqual([])
  })
})
