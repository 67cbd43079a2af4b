// When sessions expire, and how their rows are deleted.

import assert from 'node:assert/strict'
import test from 'node:test'

import { QsessionsStore, Visitor, application, call, openDatabase, serve, watched } from './support.mjs'

const database = await openDatabase('store_expiry')

/** The row of a visitor's session: its lifetime from now and its idle timeout, in seconds. */
async function row(visitor) {
  const [found] = await database.rows(
    `SELECT round(extract(epoch FROM expires_at - now()))::integer, extract(epoch FROM idle_timeout)::float8,
            round(extract(epoch FROM deadline) - extract(epoch FROM created_at))::text
     FROM qsessions.session WHERE id = qsessions.session_id($1)`, visitor.key)
  return { left: found[0], idle: found[1], deadline: found[2] }
}

async function open(cookie, storeOptions = {}, options = {}) {
  const store = database.store(storeOptions)
  const app = application(store, (app) => {
    app.get('/', (req, res) => {
      if (req.query.n) req.session.n = req.query.n
      if (req.query.seconds) req.session.cookie.maxAge = req.query.seconds === 'null' ? null : req.query.seconds * 1000
      res.json({ maxAge: req.session.cookie.maxAge, originalMaxAge: req.session.cookie.originalMaxAge })
    })
  }, { options: { cookie, ...options } })
  return { store, visitor: new Visitor(await serve(database, app)) }
}

const near = (found, wanted) => assert.ok(Math.abs(found - wanted) <= 5, `${found} is not near ${wanted}`)
const age = (visitor, seconds) => database.rows(
  `UPDATE qsessions.session SET expires_at = expires_at - make_interval(secs => $2),
       last_seen_at = last_seen_at - make_interval(secs => $2)
   WHERE id = qsessions.session_id($1)`, visitor.key, seconds)

test('the lifetime of the cookie slides with each visit', async () => {
  const { visitor } = await open({ maxAge: 3_600_000 })
  await visitor.get('/?n=1')
  const begun = await row(visitor)
  near(begun.left, 3600)
  near(begun.idle, 3600)
  assert.equal(begun.deadline, 'Infinity')
  await age(visitor, 600)
  await visitor.get('/')
  near((await row(visitor)).left, 3600)
  near((await visitor.get('/')).maxAge / 1000, 3600)
})

test('a session whose cookie ends with the browser lives for the ttl', async () => {
  const day = await open({})
  assert.equal((await day.visitor.get('/?n=1')).originalMaxAge, null)
  near((await row(day.visitor)).idle, 86_400)
  const { visitor } = await open({}, { ttl: 600 })
  await visitor.get('/?n=1')
  near((await row(visitor)).idle, 600)
  assert.ok(!visitor.attributes.some((attribute) => attribute.startsWith('Expires')))
})

test('"remember me" is kept', async () => {
  const { visitor } = await open({}, { ttl: 600 })
  await visitor.get('/?n=1')
  await visitor.get('/?seconds=2592000')
  near((await row(visitor)).idle, 2_592_000)
  near((await row(visitor)).left, 2_592_000)
  near((await visitor.get('/')).originalMaxAge / 1000, 2_592_000)
  await visitor.get('/?n=2&seconds=60')
  near((await row(visitor)).idle, 60)
  await visitor.get('/?seconds=null')
  near((await row(visitor)).idle, 600)
})

test('with disableTouch, only a save moves the expiry', async () => {
  const { visitor } = await open({ maxAge: 3_600_000 }, { disableTouch: true })
  await visitor.get('/?n=1')
  assert.equal((await row(visitor)).idle, null)
  await age(visitor, 600)
  await visitor.get('/')
  near((await row(visitor)).left, 3000)
  await visitor.get('/?n=2')
  near((await row(visitor)).left, 3600)
  assert.equal((await row(visitor)).idle, null)
})

test('an absolute timeout bounds the expiry', async () => {
  const { visitor } = await open({ maxAge: 3_600_000 }, { absoluteTimeout: 1800 })
  await visitor.get('/?n=1')
  assert.deepEqual(await row(visitor), { left: 1800, idle: 3600, deadline: '1800' })
  await visitor.get('/?n=2')
  near((await row(visitor)).left, 1800)
})

test('a session near its deadline is not written at each visit', async () => {
  const watch = watched(database.pool)
  const { visitor } = await open({ maxAge: 3_600_000 }, { absoluteTimeout: 3600, pool: watch.pool })
  await visitor.get('/?n=1')
  await database.rows("UPDATE qsessions.session SET (deadline, expires_at) = (now() + '1200 s', now() + '1200 s') WHERE id = qsessions.session_id($1)", visitor.key)
  await visitor.get('/')
  watch.statements.length = 0
  await visitor.get('/')
  await visitor.get('/')
  assert.deepEqual(watch.statements.filter((text) => !text.includes('load_session')), [])
  near((await row(visitor)).left, 1200)
  // A deadline that has been moved is noticed.
  await database.rows("SELECT qsessions.set_expiry($1, ttl => '1000 s', max_age => '2 hours')", visitor.key)
  await visitor.get('/')
  near((await row(visitor)).left, 3600)
})

test('a fixed expiry slides from the first visit that would lose most of it', async () => {
  const { visitor } = await open({ maxAge: 3_600_000 })
  await visitor.get('/?n=1')
  await database.rows("SELECT qsessions.set_expiry($1, ttl => '55 minutes')", visitor.key)
  await visitor.get('/')
  assert.equal((await row(visitor)).idle, null)
  await database.rows("SELECT qsessions.set_expiry($1, ttl => '20 minutes')", visitor.key)
  await visitor.get('/')
  near((await row(visitor)).idle, 3600)
  near((await row(visitor)).left, 3600)
})

test('a session that is saved at each visit slides, too', async () => {
  const { visitor } = await open({ maxAge: 3_600_000 })
  await visitor.get('/?n=1')
  await database.rows("SELECT qsessions.set_expiry($1, ttl => '20 minutes')", visitor.key)
  await visitor.get('/?n=2')
  near((await row(visitor)).idle, 3600)
  near((await row(visitor)).left, 3600)
})

test('an expired session is none', async () => {
  const { visitor } = await open({ maxAge: 60_000 })
  await visitor.get('/?n=1')
  await age(visitor, 61)
  const { key } = visitor
  await visitor.get('/?n=2')
  assert.notEqual(visitor.key, key)
})

test('pruneSessions deletes the rows of expired sessions', async () => {
  const { store, visitor } = await open({ maxAge: 60_000 })
  await visitor.get('/?n=1')
  await age(visitor, 61)
  await call(store, 'pruneSessions')
  assert.equal(await database.value('SELECT count(*)::integer FROM qsessions.session WHERE expires_at <= now()'), 0)
})

test('the store prunes from time to time, and tells of errors', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const logged = []
  const pruned = []
  let failure = null
  const pool = {
    query: async (query, values) => {
      if (query.text.includes('purge_expired')) pruned.push(query.text)
      if (failure) throw failure
      return database.pool.query(query, values)
    },
  }
  const delays = []
  const store = new QsessionsStore({
    pool,
    pruneSessionInterval: 10,
    pruneSessionRandomizedInterval: (delay) => {
      delays.push(delay)
      return delay
    },
    errorLog: (...values) => logged.push(values),
  })
  await call(store, 'length')
  assert.deepEqual(delays, [10_000])
  t.mock.timers.tick(9_999)
  assert.equal(pruned.length, 0)
  t.mock.timers.tick(1)
  assert.equal(pruned.length, 1)
  while (delays.length < 2) await new Promise(setImmediate)
  failure = new Error('of the database')
  t.mock.timers.tick(10_000)
  while (logged.length === 0) await new Promise(setImmediate)
  assert.equal(logged[0][1], failure)
  await store.close()
  const { length } = pruned
  t.mock.timers.tick(100_000)
  assert.equal(pruned.length, length)
})

test('without an interval the store never prunes', async (t) => {
  const timers = t.mock.method(globalThis, 'setTimeout')
  const store = database.store({ pruneSessionInterval: false })
  await call(store, 'length')
  assert.ok(timers.mock.calls.every(({ arguments: [, delay] }) => delay < 60_000))
})
