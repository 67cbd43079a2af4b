#!/usr/bin/env node
'use strict'

const { parseArgs } = require('node:util')

const { importSessions } = require('../lib/import')

const USAGE = `Usage: qsessions-express import [OPTION…]

Moves the live sessions of connect-pg-simple's table to qsessions, under the keys that the cookies
hold. It can be repeated. The table and qsessions must be in the same database.

  --database URL    the database; by default DATABASE_URL or the variables PGHOST, PGDATABASE, …
  --schema NAME     the schema of the table; by default that of the search path
  --table NAME      the table; by default session
  --user PATH       where a session has the id of its user, for example passport.user
  --keep            leave the sessions in the old table, too
  --time-zone NAME  the time zone of the column expire, if it is not that of the database
  --help            show this text
`

const OPTIONS = {
  'database': { type: 'string' },
  'schema': { type: 'string' },
  'table': { type: 'string' },
  'user': { type: 'string' },
  'keep': { type: 'boolean' },
  'time-zone': { type: 'string' },
  'help': { type: 'boolean' },
}

async function main() {
  const { values, positionals } = parseArgs({ options: OPTIONS, allowPositionals: true })
  if (values.help) {
    process.stdout.write(USAGE)
    return
  }
  if (positionals.length !== 1 || positionals[0] !== 'import') {
    process.stderr.write(USAGE)
    process.exitCode = 2
    return
  }
  const { Client } = require('pg')
  const connectionString = values.database ?? process.env.DATABASE_URL
  const client = new Client(connectionString ? { connectionString } : {})
  await client.connect()
  try {
    if (values['time-zone']) await client.query("SELECT set_config('timezone', $1, false)", [values['time-zone']])
    print(await importSessions(client, {
      schemaName: values.schema,
      tableName: values.table,
      keep: values.keep,
      userOf: values.user && memberAt(values.user),
    }))
  } finally {
    await client.end()
  }
}

/** A function that returns the member of a session at a path such as `passport.user`. */
function memberAt(path) {
  const names = path.split('.')
  return (session) => {
    const value = names.reduce((value, name) => Object(value)[name], session)
    return typeof value === 'object' ? null : value
  }
}

function print({ moved, present, expired, undecodable, refused }) {
  const lines = [
    [moved, 'moved'],
    [present, 'in qsessions already'],
    [expired, 'expired'],
    [undecodable, 'undecodable: not a JSON object'],
    [refused, 'refused: the user does not exist, the key is too short or the data too large'],
  ]
  for (const [count, text] of lines) process.stdout.write(`${String(count).padStart(10)} ${text}\n`)
}

main().catch((error) => {
  process.stderr.write(`qsessions-express: ${error.message}\n`)
  process.exitCode = 1
})
