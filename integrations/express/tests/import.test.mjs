// Sessions of connect-pg-simple: the command, and the option that moves them when they arrive.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import path from 'node:path'
import test from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { inspect, promisify } from 'node:util'

import { Visitor, application, call, openDatabase, packages, pg, qsessions, require, serve, session, watched } from './support.mjs'

const database = await openDatabase('store_import')
const run = promisify(execFile)
const OldStore = require('connect-pg-simple')(session)

function routes(app) {
  app.get('/show', (req, res) => res.json({ ...req.session, cookie: undefined }))
  app.get('/set', (req, res) => {
    Object.assign(req.session, JSON.parse(req.query.data))
    res.json(null)
  })
  app.get('/logout', (req, res) => req.session.destroy(() => res.json(null)))
}

const set = (data) => `/set?data=${encodeURIComponent(JSON.stringify(data))}`
const userOf = (data) => data.user
const exists = (key) => database.value('SELECT qsessions.session_exists($1)', key)

/** An application with connect-pg-simple and the table `name`, and one with qsessions instead. */
async function both(name, options = {}) {
  await database.rows(
    `CREATE TABLE "${name}" (sid varchar PRIMARY KEY, sess json NOT NULL, expire timestamp(6) NOT NULL)`)
  const oldStore = new OldStore({ pool: database.pool, tableName: name, pruneSessionInterval: false })
  const cookie = { maxAge: 3_600_000, sameSite: 'lax' }
  const old = await serve(database, application(oldStore, routes, { options: { genid: undefined, cookie }, visitor: null }))
  const store = database.store({ userOf, ...options })
  const present = await serve(database, application(store, routes, { options: { cookie, rolling: true } }))
  return { old, present, store, count: () => database.value(`SELECT count(*)::integer FROM "${name}"`) }
}

/** Visitors of the old application, whose sessions have these data. */
async function visitors(address, all) {
  const made = []
  for (const data of all) {
    const visitor = new Visitor(address)
    await visitor.get(set(data))
    made.push(visitor)
  }
  return made
}

async function connect() {
  const client = new pg.Client({ database: database.name })
  await client.connect()
  database.atEnd(() => client.end())
  return client
}

async function command(...values) {
  const program = path.join(packages, '.bin/qsessions-express')
  const { stdout } = await run(program, values, { env: { ...process.env, PGDATABASE: database.name, DATABASE_URL: '' } })
  return [...stdout.matchAll(/^ *(\d+)/gm)].map(([, number]) => Number(number))
}

test('the command moves sessions, and their cookies stay valid', async () => {
  const { old, present, count } = await both('moved')
  const all = Array.from({ length: 30 }, (_, number) => ({ number, user: 1 + number % 9, text: 'a\0\ud800\ufffe' }))
  const moved = await visitors(old, all)
  const values = ['import', '--table', 'moved', '--user', 'user']
  assert.deepEqual(await command(...values), [30, 0, 0, 0, 0])
  assert.equal(await count(), 0)
  for (const [number, visitor] of moved.entries()) {
    visitor.address = present
    const { key } = visitor
    assert.deepEqual(await visitor.get('/show'), all[number])
    assert.equal(visitor.key, key)
    assert.ok(visitor.attributes.includes('SameSite=Lax'))
  }
  assert.equal(await database.value('SELECT count(*)::integer FROM qsessions.user_sessions(1)'), 4)
  assert.deepEqual(await command(...values), [0, 0, 0, 0, 0])
})

test('with --keep it can be repeated, and tells what is there already', async () => {
  const { old, count } = await both('kept')
  const first = await visitors(old, [{ a: 1 }, { a: 2 }])
  assert.deepEqual(await command('import', '--table', 'kept', '--schema', 'public', '--keep'), [2, 0, 0, 0, 0])
  await visitors(old, [{ a: 3 }])
  assert.deepEqual(await command('import', '--table', 'kept', '--keep'), [1, 2, 0, 0, 0])
  assert.equal(await count(), 3)
  const left = await database.value(
    'SELECT round(extract(epoch FROM expires_at - now()))::integer FROM qsessions.load_session($1)', first[0].key)
  assert.ok(left > 3590 && left <= 3601, left)
  assert.deepEqual(await command('import', '--table', 'kept'), [0, 3, 0, 0, 0])
  assert.equal(await count(), 0)
})

test('what cannot be moved is counted and stays', async () => {
  const { old, count } = await both('mixed')
  await visitors(old, [{ user: 1 }, { user: 4711 }, { user: 'no number' }])
  await database.rows(`INSERT INTO mixed VALUES
    ('expired expired', '{"cookie": {}}', now() - interval '1 second'), ('an array of text', '["a"]', now() + interval '1 day'),
    ('a null, not a session', 'null', now() + interval '1 day'), ('short', '{"cookie": {}}', now() + interval '1 day'),
    ('a large session', json_build_object('big', repeat('x', 1 << 20)), now() + interval '1 day')`)
  const client = await connect()
  const progress = []
  const report = await qsessions.importSessions(client, {
    tableName: 'mixed', userOf, batchSize: 3, onProgress: (report) => progress.push(report) })
  assert.deepEqual(report, { moved: 1, present: 0, expired: 1, undecodable: 2, refused: 4 })
  assert.deepEqual(progress.at(-1), report)
  assert.equal(progress.length, 3)
  assert.equal(await count(), 7)
})

test('an import that fails leaves everything as it was', async () => {
  const { old, count } = await both('failing')
  await visitors(old, [{ a: 1 }])
  await assert.rejects(command('import', '--table', 'no such table'), ({ code, stderr }) => {
    assert.equal(code, 1)
    assert.match(stderr, /relation .* does not exist/)
    return true
  })
  const client = await connect()
  await assert.rejects(qsessions.importSessions(client, { tableName: 'failing', userOf: () => { throw new Error('mine') } }), /mine/)
  await client.query('SELECT 1')
  assert.equal(await count(), 1)
})

test('the command explains itself', async () => {
  const program = path.join(packages, '.bin/qsessions-express')
  assert.match((await run(program, ['--help'])).stdout, /^Usage: qsessions-express import/)
  await assert.rejects(run(program, []), { code: 2 })
  await assert.rejects(run(program, ['import', '--wrong']), { code: 1 })
})

test('importFrom moves each session when its cookie arrives', async () => {
  const { old, present, store, count } = await both('arriving', { importFrom: { tableName: 'arriving' } })
  const arriving = await visitors(old, Array.from({ length: 100 }, (_, number) => ({ number, user: 1 })))
  for (const visitor of arriving) visitor.address = present
  // Several windows of each browser at the same time.
  const windows = arriving.flatMap((visitor) => [visitor, visitor.copy(), visitor.copy()])
  const shown = await Promise.all(windows.map((visitor) => visitor.get('/show')))
  assert.deepEqual(shown.map(({ number }) => number), windows.map((_, index) => Math.floor(index / 3)))
  assert.equal(await count(), 0)
  assert.equal(await call(store, 'length') >= 100, true)
  await arriving[0].get('/logout')
  assert.deepEqual(await arriving[0].get('/show'), {})
  assert.equal(await exists(arriving[0].key), false)
})

test('a session that ends is not moved again', async () => {
  const watch = watched(database.pool)
  const { old, present, count, store } = await both('ending', { pool: watch.pool, importFrom: { tableName: 'ending' } })
  const [visitor, other] = await visitors(old, [{ user: 2 }, { user: 2 }])
  visitor.address = present
  await call(store, 'destroy', other.key)
  assert.equal(await count(), 1)
  await visitor.get('/show')
  await database.rows('SELECT qsessions.revoke_user_sessions(2)')
  assert.deepEqual(await visitor.get('/show'), {})
  other.address = present
  assert.deepEqual(await other.get('/show'), {})
})

test('the role of an application needs no more than the guide says', async () => {
  const { old, count } = await both('granted', {})
  await database.rows('CREATE ROLE express_mover LOGIN')
  await database.rows("SELECT qsessions.grant_access('express_mover')")
  await database.rows('GRANT SELECT, UPDATE, DELETE ON granted TO express_mover')
  const store = database.store({
    pool: undefined, conObject: { database: database.name, user: 'express_mover' }, importFrom: { tableName: 'granted' } })
  const [first] = await visitors(old, [{ a: 1 }, { a: 2 }])
  assert.equal((await call(store, 'get', first.key)).a, 1)
  const url = `postgres://express_mover@localhost/${database.name}?host=${encodeURIComponent(process.env.PGHOST)}`
  assert.deepEqual(await command('import', '--table', 'granted', '--database', url), [1, 0, 0, 0, 0])
  assert.equal(await count(), 0)
  await store.close()
})

test('a session that cannot be moved is none, and is logged', async () => {
  const logged = []
  const { old, present } = await both('refused', { importFrom: { tableName: 'refused' }, errorLog: (...values) => logged.push(values) })
  const [visitor] = await visitors(old, [{ user: 4711 }])
  visitor.address = present
  assert.deepEqual(await visitor.get('/show'), {})
  assert.equal(logged[0][1].code, '23503')
  const log = inspect(logged, { depth: null })
  assert.ok(!log.includes(visitor.key) && !log.includes('4711'), log)
})

test('a row that is no session stays in the old table', async () => {
  const logged = []
  const { store, count } = await both('odd', { importFrom: { tableName: 'odd' }, errorLog: (...values) => logged.push(values) })
  await database.rows("INSERT INTO odd VALUES ('array-of-odd', '[1]', now() + '1 hour'), ('null-of-odd', 'null', now() + '1 hour')")
  for (const key of ['array-of-odd', 'null-of-odd']) assert.equal(await call(store, 'get', key), null)
  assert.equal(await count(), 2)
  assert.equal(logged.length, 2)
})

test('a connection that fails during a move is an error of this request', async () => {
  const { store, old, count } = await both('breaking', { importFrom: { tableName: 'breaking' } })
  const [{ key }] = await visitors(old, [{ user: 3 }])
  const blocker = await database.pool.connect()
  try {
    await blocker.query('BEGIN; LOCK breaking')
    const moved = call(store, 'get', key).then(() => null, (error) => error)
    const end = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
      WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE 'DELETE%'`
    while ((await database.rows(end)).length === 0) await setImmediate()
    assert.equal((await moved).code, '57P01')
  } finally {
    await blocker.query('ROLLBACK')
    blocker.release()
  }
  assert.equal(await count(), 1)
  assert.equal((await call(store, 'get', key)).user, 3)
})
