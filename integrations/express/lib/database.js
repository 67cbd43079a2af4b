'use strict'

// The statements of the store, and what runs them. Keys are always parameters, so no statement
// contains one.

// All values are read as the server writes them, so that parsers that the application has set for
// all of pg change nothing here.
const RAW = { getTypeParser: () => (text) => text }

const time = (column) => `date_part('epoch', ${column}) * 1000`

const STATEMENTS = {
  // A bare index scan. One column, because pg takes time for each. The last element says whether a visit
  // now is to be recorded: the last one was recorded before the touch interval, or before a quarter of
  // an idle timeout. The setting is unknown until the library is loaded.
  load: `SELECT json_build_array(l.data, l.id, l.user_id, ${time('l.expires_at')}, host(l.ip), l.user_agent,
      (l.last_seen_at + current_setting('qsessions.touch_interval', true)::interval > now()
       AND l.last_seen_at + 4 * (now() - l.last_seen_at) < l.expires_at) IS NOT TRUE)
    FROM qsessions.load_session($1) AS l`,
  resume: `SELECT ${time('expires_at')} FROM qsessions.resume_session($1, qsessions.address($2), $3, $4)`,
  create: `SELECT id, ${time('expires_at')} FROM qsessions.create_session(
      key => $1, user_id => $2, data => $3, ip => qsessions.address($4), user_agent => $5, client_hints => $6,
      idle_timeout => $7, ttl => $8, max_age => $9, max_sessions => $10)`,
  patch: 'SELECT qsessions.patch_session($1, $2)',
  patchAndRemove: 'SELECT qsessions.patch_session($1, $2, $3)',
  replace: 'SELECT qsessions.save_session($1, $2)',
  // The changes and the user in one statement: the data never names a user who is not that of the row.
  assign: `SELECT qsessions.save_session($1, (l.data || $2) - $3::text[], expected_version => l.version, user_id => $4)
    FROM qsessions.load_session($1) AS l`,
  expiry: `SELECT ${time('qsessions.set_expiry($1, idle_timeout => $2, ttl => $3, max_age => $4)')}`,
  // A patch before the login would lock the row before the user, and two transactions could wait for
  // each other. Only the session that was loaded gets the changes, not one that begins.
  login: `SELECT l.key, l.id, ${time('l.expires_at')}, l.is_new_device, l.is_new_place,
      CASE WHEN l.id = qsessions.session_id($1) AND $10::jsonb IS NOT NULL
           THEN qsessions.patch_session(l.key, $10, $11) END
    FROM qsessions.login(
      $1, $2, qsessions.address($3), $4, $5, client_hints => $6, idle_timeout => $7, ttl => $8, max_sessions => $9,
      max_age => $12) AS l`,
  // A user's id can be written in more than one way, for example a UUID in upper case.
  isSameUser: 'SELECT $1::text::qsessions.user_key = $2::text::qsessions.user_key',
  rotate: 'SELECT qsessions.rotate_key($1)',
  logout: 'SELECT qsessions.logout($1)',
  devices: `SELECT id, device, location, host(ip), user_agent, ${time('created_at')}, ${time('authenticated_at')},
      ${time('last_seen_at')}, ${time('expires_at')}, is_current
    FROM qsessions.user_sessions($1, $2)`,
  revoke: 'SELECT qsessions.revoke_session($1, $2)',
  revokeOthers: 'SELECT qsessions.revoke_user_sessions($1, except_key => $2)',
  all: `SELECT id, data, ${time('expires_at')} FROM qsessions.session WHERE expires_at > now() ORDER BY id`,
  count: 'SELECT count(*) FROM qsessions.session WHERE expires_at > now()',
  clear: "SELECT qsessions.revoke_sessions(created_before => 'infinity')",
  import: 'SELECT qsessions.import_session($1, $2, $3, expires_at => $4)',
  purge: 'SELECT qsessions.purge_expired()',
  hasTable: "SELECT to_regclass('qsessions.session') IS NOT NULL",
  createTable: 'SELECT qsessions.create_session_table($1::regclass)',
}

class Database {
  #pool
  #queries
  #createTable
  #table = null

  /**
   * @param {import('pg').Pool} pool
   * @param {{ prepares?: boolean, createTable?: boolean|string }} [options] With prepares, each
   *     statement is prepared once in each connection. With createTable, a missing session table is
   *     created, for the users table of this name.
   */
  constructor(pool, { prepares = true, createTable = false } = {}) {
    this.#pool = pool
    this.#queries = Object.fromEntries(Object.entries(STATEMENTS).map(([name, text]) => {
      return [name, { text, rowMode: 'array', types: RAW, name: prepares ? `qsessions_${name}` : undefined }]
    }))
    this.#createTable = createTable
  }

  /**
   * Runs a statement.
   *
   * @param {keyof typeof STATEMENTS} name
   * @param {unknown[]} [values]
   * @param {import('pg').ClientBase} [client] The connection of a transaction.
   * @returns {Promise<{ rows: (string|null)[][] }>} The result, whose values are texts.
   */
  run(name, values = [], client = this.#pool) {
    if (this.#createTable === false) return this.#send(name, values, client)
    return this.#tableExists().then(() => this.#send(name, values, client))
  }

  // Each promise costs time, so those who call this often are not asynchronous functions.
  #send(name, values, client = this.#pool) {
    // pg copies the own properties of a query, which takes long. So the prototype has them.
    return client.query(Object.create(this.#queries[name]), values)
  }

  /** Runs a statement that has no name. */
  query(text, values) {
    return this.#pool.query({ text, values, rowMode: 'array', types: RAW })
  }

  /** The first row, or undefined. */
  async row(name, values) {
    return (await this.run(name, values)).rows[0]
  }

  /** The first value of the first row. */
  async value(name, values) {
    return (await this.row(name, values))[0]
  }

  /**
   * Runs a function in a transaction.
   *
   * @template T
   * @param {(client: import('pg').ClientBase) => Promise<T>} body
   * @returns {Promise<T>}
   */
  async transaction(body) {
    if (this.#createTable !== false) await this.#tableExists()
    const client = await this.#pool.connect()
    let failure
    // Without a listener, a connection that fails would end the process.
    const noteFailure = (error) => { failure = error }
    client.on('error', noteFailure)
    try {
      await client.query('BEGIN')
      const result = await body(client)
      await client.query('COMMIT')
      return result
    } catch (error) {
      // If the connection has failed, the pool must not use it again.
      await client.query('ROLLBACK').catch((broken) => { failure = broken })
      throw error
    } finally {
      if (failure === undefined) client.off('error', noteFailure)
      client.release(failure)
    }
  }

  #tableExists() {
    this.#table ??= this.#ensureTable().catch((error) => {
      this.#table = null
      throw error
    })
    return this.#table
  }

  async #ensureTable() {
    if (await this.#hasTable()) return
    const users = typeof this.#createTable === 'string' ? this.#createTable : null
    try {
      await this.#send('createTable', [users])
    } catch (error) {
      // Another process may have been faster.
      if (!await this.#hasTable()) throw error
    }
  }

  async #hasTable() {
    const { rows } = await this.#send('hasTable', [])
    return rows[0][0] === 't'
  }
}

/** An interval as text, from milliseconds. */
function interval(millis) {
  return millis === null ? null : `${millis} milliseconds`
}

module.exports = { Database, interval }
