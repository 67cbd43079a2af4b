'use strict'

const { REFUSED, decodeSession, quotedName, sessionText } = require('./old_table')

const BATCH = 1000

const IMPORT = `
  SELECT qsessions.import_session(i.key, i.user_id, i.data, expires_at => i.expires_at)
  FROM unnest($1::text[], $2::text[], $3::jsonb[], $4::timestamptz[])
       WITH ORDINALITY AS i (key, user_id, data, expires_at, number)
  ORDER BY i.number`

/**
 * Moves the sessions of connect-pg-simple's table to qsessions, under the keys that the cookies
 * hold. Each batch is a transaction. It can be repeated.
 *
 * @param {import('pg').ClientBase} client A connection to the database of both tables.
 * @param {import('..').ImportOptions} [options]
 * @returns {Promise<import('..').ImportReport>}
 */
async function importSessions(client, options = {}) {
  const { schemaName, tableName = 'session', keep = false, userOf = () => null, batchSize = BATCH } = options
  const table = quotedName(schemaName, tableName)
  const report = { moved: 0, present: 0, expired: 0, undecodable: 0, refused: 0 }
  const select = `
    SELECT sid, sess::text, expire::timestamptz::text, expire >= now()
    FROM ${table} WHERE $1::text IS NULL OR sid > $1 ORDER BY sid LIMIT $2 ${keep ? '' : 'FOR UPDATE'}`
  for (let after = null; ;) {
    await client.query('BEGIN')
    try {
      const { rows } = await client.query({ text: select, values: [after, batchSize], rowMode: 'array' })
      const done = await importBatch(client, rows, userOf, report)
      if (!keep && done.length > 0) await client.query(`DELETE FROM ${table} WHERE sid = ANY ($1)`, [done])
      await client.query('COMMIT')
      if (rows.length === 0) return report
      after = rows.at(-1)[0]
    } catch (error) {
      await client.query('ROLLBACK')
      throw error
    }
    options.onProgress?.({ ...report })
  }
}

/** Imports rows of the old table and counts them. Returns the keys that qsessions has now. */
async function importBatch(client, rows, userOf, report) {
  const live = []
  for (const [sid, text, expire, isLive] of rows) {
    const session = isLive === true || isLive === 't' ? decodeSession(text) : undefined
    if (session === undefined) {
      report.expired += 1
    } else if (session === null) {
      report.undecodable += 1
    } else {
      const user = userOf(session) ?? null
      live.push([sid, user === null ? null : String(user), sessionText(session), expire])
    }
  }
  const results = await importRows(client, live)
  for (const result of results) report[result] += 1
  return live.filter((row, index) => results[index] !== 'refused').map(([sid]) => sid)
}

/**
 * Imports sessions in one statement. If one of them is refused, each is imported alone, to find out
 * which.
 *
 * @returns {Promise<('moved'|'present'|'refused')[]>} What has become of each.
 */
async function importRows(client, sessions) {
  if (sessions.length === 0) return []
  await client.query('SAVEPOINT sessions')
  try {
    const columns = [0, 1, 2, 3].map((column) => sessions.map((session) => session[column]))
    const { rows } = await client.query({ text: IMPORT, values: columns, rowMode: 'array' })
    await client.query('RELEASE sessions')
    return rows.map(([isMoved]) => isMoved === true || isMoved === 't' ? 'moved' : 'present')
  } catch (error) {
    await client.query('ROLLBACK TO sessions')
    if (!REFUSED.has(error.code)) throw error
  }
  if (sessions.length === 1) return ['refused']
  const results = []
  for (const session of sessions) results.push(...await importRows(client, [session]))
  return results
}

module.exports = { importSessions }
