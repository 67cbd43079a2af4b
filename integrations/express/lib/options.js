'use strict'

const { Database } = require('./database')

const DAY_SECONDS = 24 * 60 * 60
const PRUNE_SECONDS = 15 * 60

// Options of connect-pg-simple that have no meaning here, and what to do instead.
const REPLACED = {
  pgPromise: 'pass the option "pool" or "conObject"',
  tableName: 'sessions are in the table qsessions.session',
}

/**
 * Checks the options of the store, and fills in defaults.
 *
 * @param {object} options See index.d.ts.
 */
function readOptions(options) {
  for (const [name, instead] of Object.entries(REPLACED)) {
    if (options[name] !== undefined) throw new TypeError(`option "${name}" is not supported: ${instead}`)
  }
  if (options.schemaName !== undefined && options.schemaName !== 'qsessions') {
    throw new TypeError('option "schemaName" must be "qsessions", which is the schema of the extension')
  }
  const errorLog = options.errorLog ?? console.error.bind(console)
  const { pool, ownsPool } = choosePool(options, errorLog)
  return {
    absoluteTimeout: seconds(options, 'absoluteTimeout', null),
    database: new Database(pool, {
      prepares: options.preparedStatements ?? true,
      createTable: options.createTableIfMissing ?? false,
    }),
    disableTouch: Boolean(options.disableTouch),
    errorLog,
    errorOnEnded: Boolean(options.errorOnEnded),
    importFrom: options.importFrom ?? null,
    maxSessions: count(options, 'maxSessions'),
    ownedPool: ownsPool ? pool : null,
    pruneDelay: pruneDelay(options),
    ttl: seconds(options, 'ttl', DAY_SECONDS),
    userOf: options.userOf ?? null,
  }
}

function choosePool({ pool, conObject, conString }, errorLog) {
  if (pool !== undefined) return { pool, ownsPool: false }
  // An application that passes its pool may have another copy of pg.
  const { Pool } = require('pg')
  const connectionString = conString ?? process.env.DATABASE_URL
  const owned = new Pool(conObject ?? (connectionString ? { connectionString } : {}))
  owned.on('error', (error) => errorLog('qsessions: an idle connection has failed:', error))
  return { pool: owned, ownsPool: true }
}

/**
 * A function that returns the milliseconds until the next prune, or null if the store does not
 * prune.
 */
function pruneDelay(options) {
  if (options.pruneSessionInterval === false) return null
  const millis = seconds(options, 'pruneSessionInterval', PRUNE_SECONDS) * 1000
  const randomized = options.pruneSessionRandomizedInterval ?? true
  if (randomized === false) return () => millis
  if (typeof randomized === 'function') return () => randomized(millis)
  // The processes of an application start at the same time, and should not all prune at the same
  // time.
  return () => Math.ceil(millis * (0.5 + Math.random()))
}

function seconds(options, name, otherwise) {
  const value = options[name] ?? otherwise
  if (value !== null && !(Number.isFinite(value) && value > 0)) {
    throw new TypeError(`option "${name}" must be a number of seconds above zero`)
  }
  return value
}

function count(options, name) {
  const value = options[name] ?? null
  if (value !== null && !(Number.isInteger(value) && value > 0)) {
    throw new TypeError(`option "${name}" must be a whole number above zero`)
  }
  return value
}

module.exports = { readOptions }
