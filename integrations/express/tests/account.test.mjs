// Users: login, devices, revocation, and sessions whose data names a user.

import assert from 'node:assert/strict'
import test from 'node:test'

import { Visitor, application, call, gate, openDatabase, qsessions, require, serve, watched } from './support.mjs'

const database = await openDatabase('store_account')
const passport = require('passport')

const PHONE = 'Mozilla/5.0 (iPhone; CPU iPhone OS 17_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.1 Mobile/15E148 Safari/604.1'

function routes(app) {
  const route = (path, answer) => app.get(path, (req, res, next) => {
    Promise.resolve(answer(req, res)).then((value) => res.json(value ?? null), next)
  })
  route('/show', (req) => ({ ...req.session, cookie: undefined, user: qsessions.userId(req) }))
  route('/set', (req) => { Object.assign(req.session, JSON.parse(req.query.data)) })
  route('/login', async (req) => {
    if (req.query.data) Object.assign(req.session, JSON.parse(req.query.data))
    const options = req.query.max ? { maxSessions: Number(req.query.max) } : {}
    const answer = await qsessions.login(req, Number(req.query.user), options)
    req.session.after = true
    return answer
  })
  route('/remember', async (req) => {
    req.session.cookie.maxAge = 2_592_000_000
    await qsessions.login(req, 1)
  })
  route('/logout', (req) => qsessions.logout(req))
  route('/devices', (req) => qsessions.devices(req))
  route('/revoke', (req) => qsessions.revoke(req, req.query.id))
  route('/others', (req) => qsessions.revokeOthers(req))
  route('/rotate', async (req) => {
    req.session.n = 1
    await qsessions.rotateKey(req)
    req.session.m = 2
  })
}

async function open(storeOptions = {}, options = {}) {
  const watch = watched(database.pool)
  const store = database.store({ pool: watch.pool, ...storeOptions })
  const address = await serve(database, application(store, routes, { options }))
  return { store, watch, address, visitor: new Visitor(address) }
}

const path = (name, data) => `/${name}data=${encodeURIComponent(JSON.stringify(data))}`
const exists = (key) => database.value('SELECT qsessions.session_exists($1)', key)
const owner = (key) => database.value('SELECT user_id FROM qsessions.load_session($1)', key)
const clear = () => database.rows('TRUNCATE qsessions.session')

test('a login keeps the data of an anonymous session, under a new key', async () => {
  const { visitor } = await open()
  await visitor.get(path('set?', { cart: ['book'] }))
  const { key } = visitor
  const { id } = await visitor.get(path('login?user=1&', { unsaved: true }))
  assert.notEqual(visitor.key, key)
  assert.equal(await exists(key), false)
  assert.equal(await database.value('SELECT qsessions.session_id($1)::text', key), id)
  assert.deepEqual(await visitor.get('/show'), { cart: ['book'], unsaved: true, after: true, user: '1' })
  assert.equal(await owner(visitor.key), '1')
})

test('a login without a session begins one, in one statement and with one row', async () => {
  await clear()
  const { visitor, watch } = await open({}, { cookie: { maxAge: 3_600_000 } })
  await visitor.get(path('login?user=2&', { a: 1 }))
  // The second one saves what the handler has set after the login.
  const names = watch.statements.map((text) => text.match(/(FROM|SELECT) qsessions\.(\w+)/)[2])
  assert.deepEqual(names, ['login', 'patch_session'])
  assert.equal(await database.value('SELECT count(*)::integer FROM qsessions.session'), 1)
  assert.deepEqual(await visitor.get('/show'), { a: 1, after: true, user: '2' })
  const [[ip, agent, idle]] = await database.rows(
    'SELECT host(ip), user_agent, extract(epoch FROM idle_timeout)::integer FROM qsessions.session')
  assert.deepEqual([ip, agent, idle], ['192.0.2.1', visitor.headers['User-Agent'], 3600])
})

test('a login as another user takes nothing of the first user along', async () => {
  const { visitor } = await open({}, { cookie: { maxAge: 3_600_000 } })
  await visitor.get(path('login?user=1&', { secret: 1 }))
  const { key } = visitor
  const first = await visitor.get('/show')
  assert.equal(first.secret, 1)
  await visitor.get(path('login?user=2&', { unsaved: true }))
  assert.equal(await exists(key), false)
  assert.deepEqual(await visitor.get('/show'), { after: true, user: '2' })
  const idle = await database.value(
    'SELECT extract(epoch FROM idle_timeout)::integer FROM qsessions.session WHERE id = qsessions.session_id($1)', visitor.key)
  assert.equal(idle, 3600)
})

test('a login after a revocation begins a session without the data of the first', async () => {
  const { visitor, watch } = await open()
  await visitor.get(path('set?', { a: 1 }))
  const { key } = visitor
  watch.before = async (text) => {
    if (text.includes('login')) await database.rows('SELECT qsessions.logout($1)', key)
  }
  await visitor.get('/login?user=1')
  watch.before = null
  assert.deepEqual(await visitor.get('/show'), { after: true, user: '1' })
})

test('a login of the same user changes the key again', async () => {
  const { visitor } = await open()
  await visitor.get(path('login?user=1&', { a: 1 }))
  const { key } = visitor
  await visitor.get('/login?user=1')
  assert.equal(await exists(key), false)
  assert.deepEqual(await visitor.get('/show'), { a: 1, after: true, user: '1' })
})

test('"remember me" at the login is kept', async () => {
  const { visitor } = await open()
  await visitor.get(path('set?', { a: 1 }))
  await visitor.get('/remember')
  const seconds = await database.value(
    'SELECT round(extract(epoch FROM idle_timeout))::integer FROM qsessions.session WHERE id = qsessions.session_id($1)', visitor.key)
  assert.equal(seconds, 2_592_000)
})

test('a request under way during a login does not undo it', async () => {
  const { visitor, watch } = await open()
  await visitor.get(path('set?', { a: 1 }))
  const other = visitor.copy()
  const [reached, goOn] = [gate(), gate()]
  watch.before = async (text) => {
    if (!text.includes('patch_session($1') || text.includes('login')) return
    watch.before = null
    reached.open()
    await goOn.promise
  }
  const late = other.get(path('set?', { late: true }))
  await reached.promise
  await visitor.get('/login?user=1')
  goOn.open()
  await late
  assert.equal(await exists(other.key), false)
  assert.deepEqual(await visitor.get('/show'), { a: 1, after: true, user: '1' })
})

test('logout ends the session', async () => {
  const { visitor } = await open()
  await visitor.get('/login?user=1')
  const { key } = visitor
  await visitor.get('/logout')
  assert.equal(await exists(key), false)
  assert.deepEqual(await visitor.get('/show'), { user: null })
})

test('users see their devices and sign them out', async () => {
  await clear()
  const { visitor, address } = await open()
  const phone = new Visitor(address, { ip: '198.51.100.7', userAgent: PHONE })
  const stranger = new Visitor(address)
  await visitor.get('/login?user=3')
  await phone.get('/login?user=3')
  const { id } = await stranger.get('/login?user=4')
  const devices = await phone.get('/devices')
  assert.deepEqual(devices.map(({ device, ip, isCurrent }) => [device, ip, isCurrent]), [
    ['iPhone / iOS 17.1 / Safari 17.1', '198.51.100.7', true],
    ['PC / Ubuntu / Firefox 140.0', '192.0.2.1', false],
  ])
  for (const name of ['createdAt', 'authenticatedAt', 'lastSeenAt', 'expiresAt']) {
    assert.ok(!Number.isNaN(Date.parse(devices[0][name])), name)
  }
  for (const wrong of [id, 'x', '', "'; DROP TABLE users", 'ffffffff-ffff-4fff-bfff-ffffffffffff']) {
    assert.equal(await phone.get(`/revoke?id=${encodeURIComponent(wrong)}`), false)
  }
  assert.equal(await phone.get('/revoke'), false)
  assert.equal(await exists(stranger.key), true)
  assert.equal(await phone.get(`/revoke?id=${devices[1].id}`), true)
  assert.equal(await exists(visitor.key), false)
  await visitor.get('/login?user=3')
  assert.equal(await phone.get('/others'), 1)
  assert.deepEqual(await phone.get('/show'), { after: true, user: '3' })
  assert.deepEqual(await visitor.get('/show'), { user: null })
  assert.equal(await exists(stranger.key), true)
})

test('visitors without a user have no devices and end nothing', async () => {
  const { visitor } = await open()
  await visitor.get(path('set?', { a: 1 }))
  assert.deepEqual(await visitor.get('/devices'), [])
  assert.equal(await visitor.get('/others'), 0)
  const id = await database.value('SELECT qsessions.session_id($1)::text', visitor.key)
  assert.equal(await visitor.get(`/revoke?id=${id}`), false)
  assert.equal(await exists(visitor.key), true)
})

test('a session that is revoked during a request is not brought back', async () => {
  const { visitor, watch, store } = await open()
  await visitor.get('/login?user=5')
  const { key } = visitor
  const ended = []
  store.on('ended', (id) => ended.push(id))
  watch.before = async (text) => {
    if (text.includes('patch_session')) await database.rows('SELECT qsessions.revoke_user_sessions(5)')
  }
  await visitor.get(path('set?', { a: 1 }))
  watch.before = null
  assert.equal(await exists(key), false)
  assert.equal(ended.length, 1)
  assert.equal(await database.value('SELECT count(*)::integer FROM qsessions.session WHERE user_id = 5'), 0)
})

test('no request of many brings a revoked session back', async () => {
  const { visitor } = await open({}, { resave: true, rolling: true })
  for (let round = 0; round < 5; round += 1) {
    await visitor.get('/login?user=9')
    const { key } = visitor
    const requests = Array.from({ length: 30 }, (_, number) => {
      const path = ['/show', `/set?data={"n${number}":1}`, '/rotate', '/devices'][number % 4]
      // A rotation may find that another one has been faster.
      return visitor.copy().get(path).catch((error) => assert.match(error.message, /SessionEnded/))
    })
    await database.rows('SELECT qsessions.revoke_user_sessions(9)')
    await Promise.all(requests)
    assert.equal(await exists(key), false)
    assert.equal(await database.value('SELECT count(*)::integer FROM qsessions.session WHERE user_id = 9'), 0)
  }
})

test('the number of sessions of a user is limited', async () => {
  await clear()
  const { address } = await open({ maxSessions: 2 })
  const visitors = [1, 2, 3].map(() => new Visitor(address))
  for (const visitor of visitors) await visitor.get('/login?user=6')
  assert.deepEqual(await Promise.all(visitors.map(({ key }) => exists(key))), [false, true, true])
  await visitors[0].get('/login?user=6&max=1')
  assert.deepEqual(await Promise.all(visitors.map(({ key }) => exists(key))), [true, false, false])
})

test('a key is rotated, and the data stays', async () => {
  const { visitor } = await open()
  await visitor.get(path('login?user=1&', { a: 1 }))
  const { key } = visitor
  await visitor.get('/rotate')
  assert.notEqual(visitor.key, key)
  assert.equal(await exists(key), false)
  assert.deepEqual(await visitor.get('/show'), { a: 1, after: true, n: 1, m: 2, user: '1' })
  const fresh = new Visitor(visitor.address)
  await fresh.get('/rotate')
  assert.deepEqual(await fresh.get('/show'), { n: 1, m: 2, user: null })
})

test('a deleted user is signed out', async () => {
  const { visitor } = await open()
  await database.rows('INSERT INTO users VALUES (50)')
  await visitor.get('/login?user=50')
  await database.rows('DELETE FROM users WHERE id = 50')
  assert.deepEqual(await visitor.get('/show'), { user: null })
})

test('wrong calls are errors that say so', async () => {
  const { visitor } = await open()
  assert.equal((await visitor.get('/login?user=4711', { status: 500 })).code, '23503')
  assert.deepEqual(await visitor.get('/show'), { user: null })
  await assert.rejects(qsessions.login({ session: {} }, 1), /no session of a QsessionsStore/)
  await assert.rejects(qsessions.devices({}), TypeError)
  assert.throws(() => qsessions.userId({}), TypeError)
})

test('login tells of new devices, if events are recorded', async () => {
  await database.rows('SELECT qsessions.create_event_table()')
  const { visitor, address } = await open()
  assert.equal((await visitor.get('/login?user=7')).isNewDevice, true)
  assert.equal((await new Visitor(address).get('/login?user=7')).isNewDevice, false)
})

const userOf = (session) => session.account?.id

test('sessions whose data names a user are those of this user', async () => {
  await clear()
  const { visitor, address } = await open({ userOf })
  await visitor.get(path('set?', { account: { id: 8 } }))
  assert.equal(await owner(visitor.key), '8')
  const other = new Visitor(address)
  await other.get(path('set?', { cart: 1 }))
  assert.equal(await owner(other.key), null)
  await other.get(path('set?', { account: { id: 8 }, b: 1 }))
  assert.equal(await owner(other.key), '8')
  assert.deepEqual(await other.get('/show'), { cart: 1, account: { id: 8 }, b: 1, user: '8' })
  assert.equal((await other.get('/devices')).length, 2)
  assert.equal(await other.get('/others'), 1)
})

test('a user is assigned although another request saves at the same time', async () => {
  const { visitor, watch } = await open({ userOf })
  await visitor.get(path('set?', { a: 1 }))
  const { key } = visitor
  const other = await database.pool.connect()
  await other.query('BEGIN')
  await other.query('SELECT qsessions.patch_session($1, $2)', [key, { other: true }])
  const saved = visitor.get(path('set?', { account: { id: 8 } }))
  // The statement of the store has read the session, and waits for its row.
  const waits = "SELECT count(*) = 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
  while (!await database.value(waits)) await new Promise(setImmediate)
  await other.query('COMMIT')
  other.release()
  await saved
  assert.equal(watch.statements.filter((text) => text.includes('expected_version')).length, 2)
  assert.equal(await owner(key), '8')
  assert.deepEqual(await visitor.get('/show'), { a: 1, account: { id: 8 }, other: true, user: '8' })
})

test('the data cannot name another user than the row', async () => {
  const { visitor } = await open({ userOf })
  await visitor.get(path('set?', { account: { id: 8 } }))
  const failed = new Visitor(visitor.address)
  failed.cookie = visitor.cookie
  await failed.get(path('set?', { account: { id: 9 }, b: 1 })).catch(() => {})
  assert.deepEqual(await visitor.get('/show'), { account: { id: 8 }, user: '8' })
  await database.rows('SELECT qsessions.patch_session($1, $2)', visitor.key, { account: { id: 9 } })
  assert.deepEqual(await visitor.get('/show'), { user: null })
})

test('a login waits for a save that is under way, and knows if the session has ended since', async () => {
  const { store, watch } = await open()
  const req = { headers: {}, sessionStore: store }
  store.generate(req)
  const { sessionID, session } = req
  session.cart = 1
  watch.before = (text) => text.includes('login') && database.rows('SELECT qsessions.logout($1)', sessionID)
  session.save()
  await qsessions.login(req, 1)
  assert.equal(req.session.cart, undefined)
  req.session.other = 2
  await call(store, 'set', req.sessionID, req.session)
  const { cookie, ...data } = await call(store, 'get', req.sessionID)
  assert.deepEqual(data, { other: 2 })
})

test('a user whose id the data writes in another way is the same user', async () => {
  const { visitor } = await open({ userOf })
  await visitor.get(path('set?', { account: { id: '008' } }))
  assert.deepEqual(await visitor.get('/show'), { account: { id: '008' }, user: '8' })
  await visitor.get(path('set?', { b: 1 }))
  await visitor.get('/rotate')
  await visitor.get(path('login?user=8&', { c: 1 }))
  assert.deepEqual(await visitor.get('/show'), { account: { id: '008' }, after: true, b: 1, c: 1, m: 2, n: 1, user: '8' })
  for (const id of ['9', 'nobody', '9'.repeat(30), 'a\0b']) {
    await database.rows('UPDATE qsessions.session SET data = $1 WHERE id = qsessions.session_id($2)',
      JSON.stringify({ account: { id: id.replace('\0', '\ufffe0000') } }), visitor.key)
    assert.deepEqual(await visitor.copy().get('/show'), { user: null })
  }
})

test('passport signs users in and out', async () => {
  await clear()
  const store = database.store({ userOf: (session) => session.passport?.user })
  const authenticator = new passport.Passport()
  authenticator.serializeUser((user, done) => done(null, user.id))
  authenticator.deserializeUser((id, done) => done(null, { id }))
  const address = await serve(database, application(store, (app) => {
    app.use(authenticator.initialize())
    app.use(authenticator.session())
    app.get('/set', (req, res) => {
      req.session.cart = 1
      res.json(null)
    })
    app.get('/login', (req, res, next) => {
      req.login({ id: 2 }, { keepSessionInfo: true }, (error) => error ? next(error) : res.json(null))
    })
    app.get('/logout', (req, res, next) => req.logout((error) => error ? next(error) : res.json(null)))
    app.get('/user', (req, res) => res.json([req.user?.id ?? null, qsessions.userId(req), req.session.cart ?? null]))
  }))
  const visitor = new Visitor(address)
  await visitor.get('/set')
  const { key } = visitor
  await visitor.get('/login')
  assert.equal(await exists(key), false)
  assert.deepEqual(await visitor.get('/user'), [2, '2', 1])
  assert.equal(await database.value('SELECT qsessions.revoke_user_sessions(2)::integer'), 1)
  assert.deepEqual(await visitor.get('/user'), [null, null, null])
  await visitor.get('/login')
  const { key: second } = visitor
  await visitor.get('/logout')
  assert.equal(await exists(second), false)
  assert.deepEqual(await visitor.get('/user'), [null, null, null])
  assert.equal(await call(store, 'length'), await database.value('SELECT count(*)::integer FROM qsessions.session'))
})
