// Express with express-session over HTTP: what applications expect of sessions with any store.

import assert from 'node:assert/strict'
import test from 'node:test'

import { Visitor, application, call, openDatabase, serve, watched } from './support.mjs'

const database = await openDatabase('store_http')

function routes(app) {
  app.get('/show', (req, res) => res.json({ ...req.session, cookie: undefined }))
  app.get('/set', (req, res) => {
    Object.assign(req.session, JSON.parse(req.query.data))
    res.json(null)
  })
  app.get('/unset', (req, res) => {
    delete req.session[req.query.name]
    res.json(null)
  })
  app.get('/null', (req, res) => {
    req.session = null
    res.json(null)
  })
  app.get('/destroy', (req, res, next) => req.session.destroy((error) => error ? next(error) : res.json(null)))
  app.get('/regenerate', (req, res, next) => {
    req.session.regenerate((error) => {
      req.session.regenerated = true
      if (error) next(error)
      else res.json(null)
    })
  })
  app.get('/reload', (req, res, next) => {
    req.session.mine = 'dropped'
    req.session.reload((error) => error ? next(error) : res.json({ ...req.session, cookie: undefined }))
  })
  app.get('/save', (req, res, next) => {
    req.session.saved = true
    req.session.save((error) => error ? next(error) : res.redirect('/show'))
  })
  app.get('/remember', (req, res) => {
    req.session.cookie.maxAge = Number(req.query.millis)
    res.json(null)
  })
  app.get('/stream', (req, res) => {
    res.write('"early')
    req.session.streamed = true
    res.end('"')
  })
  app.get('/fail', () => {
    throw new Error('of the handler')
  })
}

const path = (data) => `/set?data=${encodeURIComponent(JSON.stringify(data))}`
const live = () => database.value('SELECT count(*)::integer FROM qsessions.session WHERE expires_at > now()')

async function open(options = {}, storeOptions = {}) {
  const store = database.store(storeOptions)
  const address = await serve(database, application(store, routes, { options }))
  return { store, address, visitor: new Visitor(address) }
}

test('a visitor gets a row and a cookie only when something is stored', async () => {
  const { visitor } = await open()
  const before = await live()
  await visitor.get('/show')
  assert.equal(visitor.cookie, null)
  assert.equal(await live(), before)
  await visitor.get(path({ a: 1 }))
  assert.equal(visitor.key.length, 48)
  assert.deepEqual(await visitor.get('/show'), { a: 1 })
  assert.equal(visitor.changed, false)
  assert.equal(await live(), before + 1)
})

test('with saveUninitialized, each visitor gets a session', async () => {
  const { visitor } = await open({ saveUninitialized: true })
  await visitor.get('/show')
  const { key } = visitor
  assert.equal(await database.value('SELECT qsessions.session_exists($1)', key), true)
  await visitor.get(path({ a: 1 }))
  assert.equal(visitor.key, key)
})

test('an id of express-session itself is a key, too', async () => {
  const { visitor } = await open({ genid: undefined })
  await visitor.get(path({ a: 1 }))
  assert.equal(visitor.key.length, 32)
  assert.deepEqual(await visitor.get('/show'), { a: 1 })
})

test('a cookie of no session begins a session under another key', async () => {
  const { visitor } = await open()
  await visitor.get(path({ a: 1 }))
  const { key } = visitor
  await database.rows('SELECT qsessions.logout($1)', key)
  assert.deepEqual(await visitor.get('/show'), {})
  await visitor.get(path({ b: 1 }))
  assert.notEqual(visitor.key, key)
  assert.deepEqual(await visitor.get('/show'), { b: 1 })
})

test('a cookie with a wrong signature is no session', async () => {
  const { visitor } = await open()
  await visitor.get(path({ a: 1 }))
  visitor.cookie = visitor.cookie.slice(0, -4)
  assert.deepEqual(await visitor.get('/show'), {})
})

test('members are changed and removed', async () => {
  const { visitor } = await open()
  await visitor.get(path({ a: 1, b: { c: 1 } }))
  await visitor.get(path({ b: { c: 2 } }))
  assert.deepEqual(await visitor.get('/show'), { a: 1, b: { c: 2 } })
  await visitor.get('/unset?name=a')
  assert.deepEqual(await visitor.get('/show'), { b: { c: 2 } })
})

test('destroy ends the session', async () => {
  const { visitor } = await open()
  await visitor.get(path({ a: 1 }))
  const { key } = visitor
  await visitor.get('/destroy')
  assert.equal(await database.value('SELECT qsessions.session_exists($1)', key), false)
  assert.deepEqual(await visitor.get('/show'), {})
})

test('a session that is null is kept, or destroyed if the option says so', async () => {
  for (const [unset, left] of [['keep', { a: 1 }], ['destroy', {}]]) {
    const { visitor } = await open({ unset })
    await visitor.get(path({ a: 1 }))
    await visitor.get('/null')
    assert.deepEqual(await visitor.get('/show'), left)
  }
})

test('regenerate ends the session and begins another', async () => {
  const { visitor } = await open()
  await visitor.get(path({ a: 1 }))
  const { key } = visitor
  await visitor.get('/regenerate')
  assert.notEqual(visitor.key, key)
  assert.equal(await database.value('SELECT qsessions.session_exists($1)', key), false)
  assert.deepEqual(await visitor.get('/show'), { regenerated: true })
})

test('reload drops what was changed', async () => {
  const { visitor } = await open()
  await visitor.get(path({ a: 1 }))
  assert.deepEqual(await visitor.get('/reload'), { a: 1 })
  assert.deepEqual(await visitor.get('/show'), { a: 1 })
})

test('reload of a session that has ended fails', async () => {
  const { visitor } = await open()
  const { error } = await visitor.get('/reload', { status: 500 })
  assert.match(error, /failed to load session/)
})

test('save stores the session before the response', async () => {
  const { visitor } = await open()
  await visitor.get('/save', { status: 302 })
  assert.deepEqual(await visitor.get('/show'), { saved: true })
})

test('what is changed after the head of the response is saved', async () => {
  const { visitor } = await open()
  await visitor.get(path({ a: 1 }))
  assert.equal(await visitor.get('/stream'), 'early')
  assert.deepEqual(await visitor.get('/show'), { a: 1, streamed: true })
})

test('the cookie has the attributes of the options', async () => {
  const { visitor } = await open({ name: 'shop', cookie: { maxAge: 60_000, sameSite: 'strict', path: '/' } })
  await visitor.get(path({ a: 1 }))
  assert.match(visitor.cookie, /^shop=s%3A/)
  assert.ok(['Path=/', 'HttpOnly', 'SameSite=Strict'].every((wanted) => visitor.attributes.includes(wanted)))
  assert.ok(visitor.attributes.some((attribute) => attribute.startsWith('Expires=')))
})

test('rolling sets the cookie each time', async () => {
  const { visitor } = await open({ rolling: true, cookie: { maxAge: 60_000 } })
  await visitor.get(path({ a: 1 }))
  for (let number = 0; number < 2; number += 1) {
    await visitor.get('/show')
    assert.ok(visitor.changed)
  }
})

test('sessions of another program get the cookie of the options', async () => {
  const { address, store } = await open({ rolling: true, cookie: { maxAge: 60_000, sameSite: 'strict' } })
  const begun = new Visitor(address)
  await begun.get(path({ a: 1 }))
  await database.rows("SELECT qsessions.save_session($1, '{\"b\": 2}')", begun.key)
  const { key } = begun
  assert.deepEqual(await begun.get('/show'), { b: 2 })
  assert.equal(begun.key, key)
  assert.ok(begun.attributes.includes('SameSite=Strict'))
  assert.deepEqual((await call(store, 'get', key)).cookie.sameSite, 'strict')
})

test('a failing handler changes nothing that was not set', async () => {
  const { visitor } = await open()
  await visitor.get(path({ a: 1 }))
  await visitor.get('/fail', { status: 500 })
  assert.deepEqual(await visitor.get('/show'), { a: 1 })
})

test('an error of the database reaches the error handler, without the key', async () => {
  const watch = watched(database.pool)
  const { visitor } = await open({}, { pool: watch.pool })
  await visitor.get(path({ a: 1 }))
  watch.before = () => {
    throw new Error('the database is away')
  }
  const failed = await visitor.get('/show', { status: 500 })
  assert.equal(failed.error, 'the database is away')
  assert.ok(!JSON.stringify(failed).includes(visitor.key))
  watch.before = null
  assert.deepEqual(await visitor.get('/show'), { a: 1 })
})

test('a server whose socket is missing is an error, and signs no visitor out', async () => {
  const { visitor } = await open()
  await visitor.get(path({ a: 1 }))
  const away = database.store({ pool: undefined, conObject: { host: '/tmp/there-is-no-such-folder' } })
  const { address } = visitor
  visitor.address = await serve(database, application(away, routes))
  assert.match((await visitor.get('/show', { status: 500 })).error, /ENOENT/)
  visitor.address = address
  assert.deepEqual(await visitor.get('/show'), { a: 1 })
})

test('a request that only reads takes one statement', async () => {
  const watch = watched(database.pool)
  const { visitor } = await open({ cookie: { maxAge: 3_600_000 } }, { pool: watch.pool })
  await visitor.get(path({ a: 1 }))
  watch.statements.length = 0
  await visitor.get('/show')
  assert.equal(watch.statements.length, 1)
  assert.match(watch.statements[0], /load_session/)
})

test('requests at the same time keep each other\'s changes', async () => {
  const { visitor } = await open()
  await visitor.get(path({ n: 0 }))
  const names = Array.from({ length: 10 }, (_, number) => `member${number}`)
  await Promise.all(names.map((name) => visitor.copy().get(path({ [name]: true }))))
  assert.deepEqual(Object.keys(await visitor.get('/show')).sort(), [...names, 'n'].sort())
})

test('with resave, a session that has ended is not brought back', async () => {
  const watch = watched(database.pool)
  const { visitor } = await open({ resave: true }, { pool: watch.pool })
  await visitor.get(path({ a: 1 }))
  watch.before = async (text) => {
    if (text.includes('patch_session')) await database.rows('SELECT qsessions.logout($1)', visitor.key)
  }
  const { key } = visitor
  await visitor.get(path({ a: 2 }))
  watch.before = null
  assert.equal(await database.value('SELECT qsessions.session_exists($1)', key), false)
  assert.deepEqual(await visitor.get('/show'), {})
})

test('a lifetime of zero ends the session', async () => {
  const { visitor } = await open()
  await visitor.get(path({ a: 1 }))
  const { key } = visitor
  await visitor.get('/remember?millis=0')
  assert.equal(await database.value('SELECT qsessions.session_exists($1)', key), false)
})
