// Who sends a request: the address, the browser and its client hints.

import assert from 'node:assert/strict'
import test from 'node:test'

import { USER_AGENT, Visitor, application, openDatabase, serve, watched } from './support.mjs'

const database = await openDatabase('store_visitor')

async function open(options, storeOptions) {
  const app = application(database.store(storeOptions), (app) => {
    app.get('/', (req, res) => {
      if (req.query.n) req.session.n = req.query.n
      res.json(null)
    })
  }, options)
  return serve(database, app)
}

/** What the row of a visitor's session has. */
async function seen(visitor) {
  const [row] = await database.rows(
    'SELECT host(ip), user_agent, client_hints FROM qsessions.session WHERE id = qsessions.session_id($1)', visitor.key)
  return row
}

test('each visit records the address, the browser and its hints', async () => {
  const visitor = new Visitor(await open(), { headers: { 'Sec-CH-UA-Model': '"Pixel 8"', 'Sec-CH-UA-Mobile': '?1' } })
  await visitor.get('/?n=1')
  const hints = { 'sec-ch-ua-mobile': '?1', 'sec-ch-ua-model': '"Pixel 8"' }
  assert.deepEqual(await seen(visitor), ['192.0.2.1', USER_AGENT, hints])
  visitor.headers = { 'X-Forwarded-For': '2001:db8::7', 'User-Agent': 'curl/8.5.0' }
  await visitor.get('/')
  const [ip, userAgent] = await seen(visitor)
  assert.deepEqual([ip, userAgent], ['2001:db8::7', 'curl/8.5.0'])
})

test('visits at the same time are not confused', async () => {
  const address = await open()
  const visitors = Array.from({ length: 20 }, (_, number) =>
    new Visitor(address, { ip: `192.0.2.${number}`, userAgent: `agent ${number}` }))
  for (let round = 0; round < 2; round += 1) {
    await Promise.all(visitors.map((visitor) => visitor.get(`/?n=${round}`)))
    for (const [number, visitor] of visitors.entries()) {
      assert.deepEqual((await seen(visitor)).slice(0, 2), [`192.0.2.${number}`, `agent ${number}`])
    }
    for (const [number, visitor] of visitors.entries()) visitor.headers['X-Forwarded-For'] = `192.0.2.${number}`
  }
})

test('a header of the client counts only if Express trusts the proxy', async () => {
  const app = application(database.store(), (app) => {
    app.set('trust proxy', false)
    app.get('/', (req, res) => {
      req.session.n = 1
      res.json(null)
    })
  })
  const visitor = new Visitor(await serve(database, app), { ip: '203.0.113.9' })
  await visitor.get('/')
  assert.equal((await seen(visitor))[0], '127.0.0.1')
})

test('strange headers break no page', async () => {
  const address = await open()
  for (const ip of ['unknown', '', '192.0.2.1:80', '[2001:db8::1]:443', 'x'.repeat(500), '\u00e4']) {
    const visitor = new Visitor(address, { ip, userAgent: '\u00ff"\\{}', headers: { 'Sec-CH-UA': '"\\\u00e4"' } })
    await visitor.get('/?n=1')
    await visitor.get('/')
    assert.equal((await seen(visitor))[1], '\u00ff"\\{}')
  }
})

test('browsers are asked for hints, unless the option says no', async () => {
  const visitor = new Visitor(await open())
  await visitor.get('/')
  assert.match(visitor.response.headers.get('accept-ch'), /Sec-CH-UA-Model/)
  const quiet = new Visitor(await open({ visitor: { acceptClientHints: false } }))
  await quiet.get('/')
  assert.equal(quiet.response.headers.get('accept-ch'), null)
})

test('visits are recorded without the middleware, too', async () => {
  const visitor = new Visitor(await open({ visitor: null }))
  await visitor.get('/?n=1')
  assert.deepEqual((await seen(visitor)).slice(0, 2), ['192.0.2.1', USER_AGENT])
  for (const [path, agent] of [['/', 'curl/8.5.0'], ['/?n=2', 'curl/8.6.0']]) {
    visitor.headers['User-Agent'] = agent
    await visitor.get(path)
    assert.equal((await seen(visitor))[1], agent)
  }
})

test('the middleware can find the address elsewhere', async () => {
  const address = (req) => req.headers['x-client']
  const visitor = new Visitor(await open({ visitor: { address } }), { headers: { 'X-Client': '203.0.113.5' } })
  await visitor.get('/?n=1')
  assert.equal((await seen(visitor))[0], '203.0.113.5')
})

test('a visit that shows nothing new is recorded once in an interval', async () => {
  const watch = watched(database.pool)
  const hints = { 'Sec-CH-UA-Mobile': '?0' }
  const visitor = new Visitor(await open({}, { pool: watch.pool }), { headers: hints })
  const recorded = async (path) => {
    watch.statements.length = 0
    await visitor.get(path)
    return watch.statements.filter((text) => text.includes('resume_session')).length
  }
  await visitor.get('/?n=1')
  // Another process may have stored the session, so the first request with hints records them.
  assert.equal(await recorded('/'), 1)
  assert.equal(await recorded('/'), 0)
  assert.equal(await recorded('/?n=2'), 0)
  await database.rows(
    "UPDATE qsessions.session SET last_seen_at = now() - interval '2 minutes' WHERE id = qsessions.session_id($1)",
    visitor.key)
  assert.equal(await recorded('/'), 1)
  assert.equal(await recorded('/'), 0)
  visitor.headers['Sec-CH-UA-Mobile'] = '?1'
  assert.equal(await recorded('/'), 1)
  visitor.headers['X-Forwarded-For'] = '::ffff:192.0.2.1'
  assert.equal(await recorded('/'), 0)
})
