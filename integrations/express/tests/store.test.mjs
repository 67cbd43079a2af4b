// The methods of a store, as express-session calls them.

import assert from 'node:assert/strict'
import test from 'node:test'

import { QsessionsStore, call, openDatabase, qsessions, session, watched } from './support.mjs'

const database = await openDatabase('store_methods')
const { pool } = database

/** A store that express-session knows, and a function that begins a session there. */
function open(options = {}, cookie = { maxAge: 60_000 }) {
  const watch = watched(pool)
  const store = database.store({ pool: watch.pool, ...options })
  session({ store, secret: 'x', genid: qsessions.generateKey, resave: false, saveUninitialized: false, cookie })
  const begin = async (data = {}) => {
    const req = { headers: {}, sessionStore: store }
    store.generate(req)
    Object.assign(req.session, data)
    await call(store, 'set', req.sessionID, req.session)
    return req
  }
  return { store, begin, watch }
}

/** The session of a key as a request of its own sees it. */
async function load(store, key) {
  const req = { headers: {}, sessionStore: store, sessionID: key }
  const data = await call(store, 'get', key)
  return data && store.createSession(req, data)
}

test('a session is stored and loaded', async () => {
  const { store, begin } = open()
  const data = { name: 'Zoë "quoted" 😀', cart: [1, 2.5, null, { a: true }], empty: {} }
  const { sessionID } = await begin(data)
  const loaded = await call(store, 'get', sessionID)
  assert.deepEqual({ ...loaded, cookie: null }, { ...data, cookie: null })
  assert.equal(loaded.cookie.originalMaxAge, 60_000)
  assert.ok(loaded.cookie.expires instanceof Date)
  const made = await load(store, sessionID)
  assert.ok(made instanceof session.Session)
  assert.equal(made.id, sessionID)
  assert.ok(made.cookie.maxAge > 50_000 && made.cookie.maxAge <= 60_000)
})

test('a key that opens no session returns none', async () => {
  const { store } = open()
  for (const key of [qsessions.generateKey(), 'a foreign key', 'short', '', 'a\0bcdefgh', '\ud800'.repeat(9), 'x'.repeat(9999)]) {
    assert.equal(await call(store, 'get', key), null)
    assert.equal(await call(store, 'destroy', key), undefined)
  }
})

test('all, length and clear count live sessions', async () => {
  const { store, begin } = open()
  await call(store, 'clear')
  assert.equal(await call(store, 'length'), 0)
  const one = await begin({ n: 1 })
  await begin({ n: 2 })
  const expired = await begin({ n: 3 })
  await pool.query('UPDATE qsessions.session SET expires_at = now() WHERE id = qsessions.session_id($1)', [expired.sessionID])
  assert.equal(await call(store, 'length'), 2)
  const all = await call(store, 'all')
  assert.deepEqual(Object.values(all).map(({ n }) => n), [1, 2])
  assert.ok(Object.values(all).every(({ cookie }) => cookie.expires instanceof Date))
  const id = await database.value('SELECT qsessions.session_id($1)', one.sessionID)
  assert.deepEqual(Object.keys(all)[0], id)
  assert.equal(await call(store, 'clear'), undefined)
  assert.equal(await call(store, 'length'), 0)
  assert.deepEqual(await call(store, 'all'), {})
})

test('destroy ends a session, and a later save does not bring it back', async () => {
  const { store, begin } = open()
  const { sessionID } = await begin({ a: 1 })
  const other = await load(store, sessionID)
  const ended = []
  store.on('ended', (id) => ended.push(id))
  await call(store, 'destroy', sessionID)
  other.a = 2
  await call(store, 'set', sessionID, other)
  await call(store, 'touch', sessionID, other)
  assert.equal(await call(store, 'get', sessionID), null)
  assert.deepEqual(ended, [await database.value('SELECT qsessions.session_id($1)::text', sessionID)])
})

test('with errorOnEnded, a save of an ended session is an error without the key', async () => {
  const { store, begin } = open({ errorOnEnded: true })
  const { sessionID } = await begin({ a: 1 })
  const other = await load(store, sessionID)
  await call(store, 'destroy', sessionID)
  other.a = 2
  await assert.rejects(call(store, 'set', sessionID, other), (error) => {
    assert.ok(error instanceof qsessions.SessionEnded)
    assert.equal(error.code, 'QS001')
    for (let cause = error; cause; cause = cause.cause) {
      assert.ok(!JSON.stringify([cause.message, cause.stack, cause]).includes(sessionID))
    }
    return true
  })
  assert.equal(await call(store, 'get', sessionID), null)
})

test('a copy of a session replaces its data, and is never inserted', async () => {
  const { store, begin } = open()
  const { sessionID } = await begin({ a: 1, b: 2 })
  const copy = JSON.parse(JSON.stringify(await call(store, 'get', sessionID)))
  copy.a = 3
  delete copy.b
  await call(store, 'set', sessionID, copy)
  const { a, b } = await call(store, 'get', sessionID)
  assert.deepEqual([a, b], [3, undefined])
  await call(store, 'destroy', sessionID)
  await assert.rejects(call(store, 'set', sessionID, copy), qsessions.SessionEnded)
  const unknown = qsessions.generateKey()
  await assert.rejects(call(store, 'set', unknown, { cookie: {}, a: 1 }), qsessions.SessionEnded)
  assert.equal(await call(store, 'get', unknown), null)
})

test('the object of get can be changed and saved', async () => {
  const { store, begin } = open()
  const { sessionID } = await begin({ a: 1, b: 2 })
  const loaded = await call(store, 'get', sessionID)
  loaded.a = 3
  delete loaded.b
  await call(store, 'set', sessionID, loaded)
  const { a, b } = await call(store, 'get', sessionID)
  assert.deepEqual([a, b], [3, undefined])
  const made = await call(store, 'load', sessionID)
  made.a = 4
  await call(store, 'set', sessionID, made)
  assert.equal((await call(store, 'get', sessionID)).a, 4)
})

test('only members that have changed are saved', async () => {
  const { store, begin } = open()
  const { sessionID } = await begin({ a: 1, b: { c: [1] }, gone: true })
  const first = await load(store, sessionID)
  const second = await load(store, sessionID)
  first.a = 2
  first.b.c.push(2)
  delete first.gone
  second.d = 'new'
  await Promise.all([call(store, 'set', sessionID, first), call(store, 'set', sessionID, second)])
  const { cookie, ...data } = await call(store, 'get', sessionID)
  assert.deepEqual(data, { a: 2, b: { c: [1, 2] }, d: 'new' })
  // A second save has only what has changed since the first.
  second.e = 1
  await call(store, 'set', sessionID, second)
  assert.deepEqual((await call(store, 'get', sessionID)).a, 2)
})

test('a session that has not changed costs no statement', async () => {
  const { store, begin, watch } = open()
  const { sessionID } = await begin({ a: 1, list: [{ z: 1, a: 2, long: 3 }] })
  const loaded = await load(store, sessionID)
  watch.statements.length = 0
  loaded.touch()
  await call(store, 'set', sessionID, loaded)
  await call(store, 'touch', sessionID, loaded)
  assert.deepEqual(watch.statements, [])
})

test('concurrent saves of a new session insert it once', async () => {
  const { store } = open()
  const req = { headers: {}, sessionStore: store }
  store.generate(req)
  const saves = []
  for (let number = 0; number < 5; number += 1) {
    req.session[`member${number}`] = number
    saves.push(call(store, 'set', req.sessionID, req.session))
  }
  await Promise.all(saves)
  const { cookie, ...data } = await call(store, 'get', req.sessionID)
  assert.deepEqual(data, { member0: 0, member1: 1, member2: 2, member3: 3, member4: 4 })
})

test('destroy ends a session that is being inserted', async () => {
  const { store } = open()
  const req = { headers: {}, sessionStore: store }
  store.generate(req)
  await Promise.all([call(store, 'set', req.sessionID, req.session), call(store, 'destroy', req.sessionID)])
  assert.equal(await call(store, 'get', req.sessionID), null)
  req.session.a = 1
  await call(store, 'set', req.sessionID, req.session)
  assert.equal(await call(store, 'get', req.sessionID), null)
})

test('a new session that was destroyed is not inserted by a later save', async () => {
  for (const errorOnEnded of [false, true]) {
    const { store } = open({ errorOnEnded })
    const req = { headers: {}, sessionStore: store }
    store.generate(req)
    const { session } = req
    await new Promise((resolve) => session.destroy(resolve))
    session.a = 1
    const saved = call(store, 'set', req.sessionID, session)
    if (errorOnEnded) await assert.rejects(saved, qsessions.SessionEnded)
    else await saved
    assert.equal(await call(store, 'get', req.sessionID), null)
  }
})

test('a failed insert can be repeated, and a key is never taken from another session', async () => {
  const { store, begin } = open({ userOf: (data) => data.user })
  const req = { headers: {}, sessionStore: store }
  store.generate(req)
  req.session.user = 4711
  await assert.rejects(call(store, 'set', req.sessionID, req.session), { code: '23503' })
  req.session.user = 1
  await call(store, 'set', req.sessionID, req.session)
  assert.equal((await call(store, 'get', req.sessionID)).user, 1)

  const { sessionID } = await begin({ secret: 1 })
  session({ store, secret: 'x', genid: () => sessionID, resave: false, saveUninitialized: false })
  store.generate(req)
  await assert.rejects(call(store, 'set', req.sessionID, req.session), { code: '23505' })
  assert.equal((await call(store, 'get', sessionID)).secret, 1)
})

test('text that jsonb refuses comes back as it was', async () => {
  const { store, begin } = open()
  const data = {
    'na\0me': 'a\0b', half: '\ud800', low: 'x\udc00y', pair: '\ud83d\ude00', mark: '\ufffe', both: '\ufffe0000',
    escaped: '\\u0000', escaped2: '\\\\u0000', quote: '"\\', control: '\u0001\u001f', nested: [{ 'k\ufffe': '\0' }],
  }
  const { sessionID } = await begin(data)
  const { cookie, ...loaded } = await call(store, 'get', sessionID)
  assert.deepEqual(loaded, data)
  const made = await load(store, sessionID)
  delete made['na\0me']
  made.half = '\udfff\0'
  await call(store, 'set', sessionID, made)
  const again = await call(store, 'get', sessionID)
  assert.ok(!('na\0me' in again))
  assert.equal(again.half, '\udfff\0')
})

test('members that express-session hides survive a save', async () => {
  const { store } = open()
  const [[key]] = await database.rows(
    'SELECT key FROM qsessions.create_session(data => $1)', '{"id": 1, "save": 2, "__proto__": {"x": 1}, "a": 1}')
  const made = await load(store, key)
  assert.equal(made.x, undefined)
  made.a = 2
  await call(store, 'set', key, made)
  assert.deepEqual(JSON.parse(await database.value('SELECT data::text FROM qsessions.load_session($1)', key)),
    JSON.parse('{"id": 1, "save": 2, "__proto__": {"x": 1}, "a": 2, "cookie": {"httpOnly": true, "originalMaxAge": null, "path": "/"}}'))
})

test('data that is no object is replaced at the next save', async () => {
  const { store } = open()
  for (const data of ['[1]', '7', 'null', '"text"']) {
    const [[key]] = await database.rows('SELECT key FROM qsessions.create_session(data => $1::jsonb)', data)
    const made = await load(store, key)
    assert.deepEqual(Object.keys(made), ['cookie'])
    made.a = 1
    await call(store, 'set', key, made)
    made.a = 2
    await call(store, 'set', key, made)
    assert.equal((await call(store, 'get', key)).a, 2)
  }
})

test('data that is no object stops neither lists nor logins', async () => {
  const { store } = open()
  for (const data of ['[1]', '7', 'null', '"text"']) {
    await call(store, 'clear')
    const [[key, id]] = await database.rows('SELECT key, id FROM qsessions.create_session(data => $1::jsonb)', data)
    assert.deepEqual(Object.keys((await call(store, 'all'))[id]), ['cookie'])
    for (const change of ['rotateKey', 'login']) {
      const req = { headers: {}, sessionStore: store, sessionID: key }
      store.createSession(req, await call(store, 'get', key))
      req.session.before = change
      await qsessions[change](req, 1)
      req.session.after = change
      await call(store, 'set', req.sessionID, req.session)
      const { before, after } = await call(store, 'get', req.sessionID)
      assert.deepEqual([before, after], [change, change])
      await database.rows('UPDATE qsessions.session SET data = $1, digest = sha256($2)', data, key)
    }
  }
})

test('an exception of an option is an error of the callback', async () => {
  const { store } = open({ userOf: (data) => data.account.id })
  const req = { headers: {}, sessionStore: store }
  store.generate(req)
  for (const method of ['set', 'touch']) {
    const error = await new Promise((resolve) => {
      assert.doesNotThrow(() => store[method](req.sessionID, req.session, resolve))
    })
    assert.ok(error instanceof TypeError)
  }
})

test('large hints are recorded, and not kept in the process', async () => {
  const { store, begin } = open()
  const { sessionID } = await begin({ a: 1 })
  const visit = async (model) => {
    const req = { headers: { 'sec-ch-ua-model': model }, sessionStore: store, sessionID }
    store.createSession(req, await call(store, 'get', sessionID))
    await call(store, 'touch', sessionID, req.session)
    return store[Symbol.for('qsessions-express.internals')].sessions.hints.size
  }
  assert.equal(await visit(`"${'x'.repeat(15_000)}"`), 0)
  assert.equal(await visit('"Pixel 9"'), 1)
  assert.match(await database.value('SELECT client_hints::text FROM qsessions.session WHERE id = qsessions.session_id($1)', sessionID), /Pixel 9/)
})

test('parsers that the application has set for pg change nothing', async () => {
  const { store, begin } = open({ pool: undefined, conObject: { database: database.name, types: { getTypeParser: () => () => 'broken' } } })
  const { sessionID } = await begin({ a: 1 })
  const made = await load(store, sessionID)
  assert.equal(made.a, 1)
  assert.ok(made.cookie.maxAge > 0)
  assert.equal(typeof await call(store, 'length'), 'number')
})

test('callbacks are optional, and their exceptions are not swallowed', async (t) => {
  const { store, begin } = open()
  const req = await begin({ a: 1 })
  store.set(req.sessionID, req.session)
  store.touch(req.sessionID, req.session)
  store.destroy(req.sessionID)
  req.session.save()
  const thrown = new Promise((resolve) => process.once('uncaughtException', resolve))
  const listeners = process.listeners('uncaughtException').slice(0, -1)
  for (const listener of listeners) process.off('uncaughtException', listener)
  t.after(() => listeners.forEach((listener) => process.on('uncaughtException', listener)))
  store.get(req.sessionID, () => { throw new Error('of the callback') })
  assert.equal((await thrown).message, 'of the callback')
})

test('options that are wrong are refused at once', () => {
  for (const options of [
    { tableName: 'session' }, { schemaName: 'public' }, { pgPromise: {} }, { ttl: 0 }, { ttl: '1 day' },
    { pruneSessionInterval: -1 }, { maxSessions: 1.5 }, { absoluteTimeout: NaN },
  ]) {
    assert.throws(() => new QsessionsStore({ pool, ...options }), TypeError, JSON.stringify(options))
  }
})

test('a session that cannot be written is an error of the callback', async () => {
  const { store, begin } = open()
  const { session: made, sessionID } = await begin({ a: 1 })
  made.big = 1n
  await assert.rejects(call(store, 'set', sessionID, made), TypeError)
  delete made.big
  made.a = 2
  await call(store, 'set', sessionID, made)
  assert.equal((await call(store, 'get', sessionID)).a, 2)
})
