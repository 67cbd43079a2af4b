// The database of the scripts here, and the loop that runs their checks.
//
// Each script takes the arguments
//
//     bigint|integer|uuid|text USER OTHER
//
// PGHOST, PGDATABASE and PGUSER name a database with an empty session table. It is linked to a
// users table whose keys have the given type and include the two given users.

import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import process from 'node:process'

// `import` ignores NODE_PATH.
const pg = createRequire(import.meta.url)('pg')

export const userAgent = 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0'

/** Runs statements through a pool, as named prepared statements or without names. */
class Database {
  constructor(pool, prepared, names = new Map()) {
    this.pool = pool
    this.prepared = prepared
    this.names = names
  }

  async rows(text, ...values) {
    if (!this.prepared) return (await this.pool.query(text, values)).rows
    if (!this.names.has(text)) this.names.set(text, `statement ${this.names.size}`)
    return (await this.pool.query({ name: this.names.get(text), text, values })).rows
  }

  async row(text, ...values) {
    const rows = await this.rows(text, ...values)
    assert.equal(rows.length, 1, text)
    return rows[0]
  }

  async value(text, ...values) {
    return Object.values(await this.row(text, ...values))[0]
  }

  async error(text, ...values) {
    try {
      await this.rows(text, ...values)
    } catch (error) {
      return error
    }
    return assert.fail(`${text} raised no error`)
  }

  /** Runs a function in a transaction of one connection, and then another one outside of it. */
  async inTransaction(inside, afterwards = () => {}) {
    const client = await this.pool.connect()
    try {
      const connection = new Database(client, this.prepared, this.names)
      await client.query('BEGIN')
      await inside(connection)
      await client.query('COMMIT')
      await afterwards(connection)
    } finally {
      client.release(true) // closes it: an error may have left the transaction open
    }
  }

  load(key) {
    return this.row('SELECT * FROM qsessions.load_session($1)', key)
  }
}

/** Runs checks, each in an empty session table, for two users of the command line. */
export async function run(checks) {
  const [keyType, ...ids] = process.argv.slice(2)
  // Numbers that JavaScript represents exactly, and the types that are used for others.
  const asNumber = (id) => (Number.isSafeInteger(Number(id)) ? Number(id) : BigInt(id))
  const [user, other] = ['bigint', 'integer'].includes(keyType) ? ids.map(asNumber) : ids

  const pool = new pg.Pool({ max: 4 })
  for (const prepared of [false, true]) {
    const db = new Database(pool, prepared)
    for (const [name, check] of Object.entries(checks)) {
      console.log(`${prepared ? 'prepared' : 'unprepared'}: ${name}`)
      await pool.query('TRUNCATE qsessions.session')
      await check(db, user, other)
    }
  }
  await pool.end()
  console.log('done')
}
