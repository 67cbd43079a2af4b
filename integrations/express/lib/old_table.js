'use strict'

const { cookieData } = require('./cookie')
const { dataText, membersOf } = require('./state')

const UNDECODABLE = 'undecodable'
// What a session of the old table can have that qsessions refuses: a user who does not exist, a key
// that is too short, too much data, no object.
const REFUSED = new Set(['23503', 'QS003', 'QS004', '22P02', '22003', '22001', UNDECODABLE])

/** The table of connect-pg-simple, with the columns sid, sess and expire. */
class OldTable {
  #database
  #errorLog
  #userOf
  #name

  /**
   * @param {{ schemaName?: string, tableName?: string }} table
   * @param {{ database: import('./database').Database, errorLog: Function, userOf: Function|null }} options
   */
  constructor({ schemaName, tableName = 'session' }, { database, errorLog, userOf }) {
    this.#database = database
    this.#errorLog = errorLog
    this.#userOf = userOf
    this.#name = quotedName(schemaName, tableName)
  }

  /**
   * Moves the session of a key to qsessions, if the table has it. One transaction deletes it here
   * and inserts it there, so that a session that ends there cannot be moved again.
   *
   * @param {string} key
   */
  async move(key) {
    try {
      await this.#database.transaction(async (client) => {
        const { rows } = await client.query({
          text: `DELETE FROM ${this.#name} WHERE sid = $1 AND expire >= now()
            RETURNING sess::text AS sess, expire::timestamptz::text AS expire`,
          values: [key],
          rowMode: 'array',
        })
        if (rows.length === 0) return
        const [[sess, expire]] = rows
        const session = decodeSession(sess)
        // The error makes the transaction keep the row.
        if (session === null) throw Object.assign(new TypeError('sess is not a JSON object'), { code: UNDECODABLE })
        await this.#database.run('import', [key, this.#user(session), sessionText(session), expire], client)
      })
    } catch (error) {
      if (!REFUSED.has(error.code)) throw error
      // Not the whole error: its detail has values of the session.
      const { code, message } = error
      this.#errorLog('qsessions: a session of the old table cannot be moved:', { code, message })
    }
  }

  async remove(key) {
    await this.#database.query(`DELETE FROM ${this.#name} WHERE sid = $1`, [key])
  }

  #user(session) {
    const user = this.#userOf?.(session) ?? null
    return user === null ? null : String(user)
  }
}

/** A name for SQL. */
function quotedName(schemaName, tableName) {
  const quoted = (name) => `"${name.replaceAll('"', '""')}"`
  return (schemaName === undefined ? [tableName] : [schemaName, tableName]).map(quoted).join('.')
}

/**
 * What connect-pg-simple has stored.
 *
 * @param {string} text
 * @returns {object|null} null if it is no session.
 */
function decodeSession(text) {
  try {
    const session = JSON.parse(text)
    return typeof session === 'object' && !Array.isArray(session) ? session : null
  } catch {
    return null
  }
}

/** The data of a session for qsessions, as JSON text. */
function sessionText(session) {
  return dataText(membersOf(session), cookieData(session.cookie))
}

module.exports = { OldTable, REFUSED, decodeSession, quotedName, sessionText }
