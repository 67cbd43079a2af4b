// Calls the functions for sessions with the types that are usual in Node.
//
// The arguments and the database are those of database.mjs.

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'

import { run, userAgent } from './database.mjs'

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

await run({
  async 'a session stores what Node passes'(db, user) {
    const data = { name: 'Zoë \\ \'quoted\' "😀"', cart: [1, 2.5, null, true] }
    const begun = await db.row(
      `SELECT * FROM qsessions.create_session(
         user_id => $1, data => $2, ip => $3, user_agent => $4, idle_timeout => $5, max_age => $6)`,
      user, data, '2001:db8::1', userAgent, '30 minutes', '90 days')
    assert.equal(begun.key.length, 48)
    assert.match(begun.id, uuid)
    const session = await db.load(begun.key)
    assert.equal(session.id, begun.id)
    assert.equal(session.user_id, String(user))
    assert.deepEqual(session.data, data)
    assert.equal(session.ip, '2001:db8::1')
    assert.equal(session.user_agent, userAgent)
    assert.equal(session.expires_at - session.created_at, 30 * 60 * 1000)
    assert.equal(session.version, '1')
  },

  async 'null and undefined are the default'(db) {
    for (const nothing of [null, undefined]) {
      const { key, id } = await db.row(
        'SELECT * FROM qsessions.create_session($1, $2, $3, $4, $5, $6, $7, $8)', ...Array(8).fill(nothing))
      const session = await db.load(key)
      assert.equal(session.user_id, null)
      assert.equal(session.ip, null)
      assert.deepEqual(session.data, {})
      const resumed = await db.row('SELECT * FROM qsessions.resume_session($1, $2, $3)', key, nothing, nothing)
      assert.equal(resumed.id, id)
      assert.deepEqual(await db.rows('SELECT * FROM qsessions.load_session($1)', nothing), [])
      assert.equal(await db.value('SELECT qsessions.session_exists($1)', nothing), false)
      assert.equal(await db.value('SELECT qsessions.logout($1)', nothing), false)
    }
  },

  async 'data may be an object or JSON text'(db) {
    for (const value of [{ a: 1 }, [], 'text', 7, null]) {
      const { key } = await db.row('SELECT * FROM qsessions.create_session(data => $1)', JSON.stringify(value))
      assert.deepEqual((await db.load(key)).data, value)
    }
  },

  async 'changes are versioned'(db, user) {
    const { key } = await db.row('SELECT * FROM qsessions.create_session($1)', user)
    const save = 'SELECT qsessions.save_session($1, $2, expected_version => $3, ttl => $4)'
    const { version } = await db.load(key)
    assert.equal(await db.value(save, key, { a: 1, b: 2 }, version, '1 hour'), '2')
    assert.equal(await db.value(save, key, { a: 1, b: 2 }, 2, null), '3')
    const patch = 'SELECT qsessions.patch_session($1, $2, remove => $3)'
    assert.equal(await db.value(patch, key, { c: { d: [] } }, ['a', 'no such "member"']), '4')
    assert.equal(await db.value(patch, key, {}, []), '5')
    assert.deepEqual((await db.load(key)).data, { b: 2, c: { d: [] } })
    const expiry = await db.value('SELECT qsessions.set_expiry($1, idle_timeout => $2)', key, '1 hour')
    assert.ok(expiry instanceof Date)

    const error = await db.error(save, key, {}, 1n, null)
    assert.equal(error.code, 'QS002')
    assert.ok(error.hint)
    assert.equal((await db.load(key)).version, '5')
  },

  async 'concurrent patches are all applied'(db) {
    const { key } = await db.row('SELECT * FROM qsessions.create_session()')
    const members = Array.from({ length: 20 }, (_, number) => [`member ${number}`, number])
    await Promise.all(members.map(([name, value]) =>
      db.value('SELECT qsessions.patch_session($1, $2)', key, { [name]: value })))
    assert.deepEqual((await db.load(key)).data, Object.fromEntries(members))
  },

  async 'users log in and out'(db, user, other) {
    const login = 'SELECT * FROM qsessions.login($1, $2, $3, $4, $5, $6)'
    const visitor = await db.row('SELECT * FROM qsessions.create_session(data => $1)', { cart: [1] })
    const member = await db.row(login, visitor.key, user, null, userAgent, null, 5)
    assert.equal(member.id, visitor.id)
    assert.notEqual(member.key, visitor.key)
    assert.deepEqual((await db.load(member.key)).data, { cart: [1] })
    assert.deepEqual(await db.rows('SELECT * FROM qsessions.load_session($1)', visitor.key), [])

    // A user's id can be text, for example from a URL or a token.
    const second = await db.row(login, null, String(user), '192.0.2.1', null, {}, null)
    const third = await db.row('SELECT * FROM qsessions.login($1, user_id => $2)', null, user)
    const mine = await db.rows('SELECT * FROM qsessions.user_sessions($1, current_key => $2)', user, third.key)
    assert.deepEqual(new Set(mine.map(({ id }) => id)), new Set([member.id, second.id, third.id]))
    assert.deepEqual(mine.filter(({ is_current }) => is_current).map(({ id }) => id), [third.id])
    assert.ok(mine.every(({ is_active }) => is_active === true))
    assert.equal((await db.rows('SELECT * FROM qsessions.list_sessions($1, $2)', user, true)).length, 3)
    assert.equal((await db.rows('SELECT * FROM qsessions.list_sessions(ip => $1)', '192.0.2.0/24')).length, 1)
    const page = 'SELECT * FROM qsessions.list_sessions(user_id => $1, after => $2, max_rows => $3)'
    const newest = await db.row(page, user, null, 1)
    assert.equal(newest.id, third.id)
    assert.equal((await db.row(page, user, newest.id, 1)).id, second.id)
    assert.equal((await db.row('SELECT * FROM qsessions.get_session($1)', third.id)).user_id, String(user))

    const revoke = 'SELECT qsessions.revoke_session($1, user_id => $2)'
    assert.equal(await db.value(revoke, second.id, other), false)
    assert.equal(await db.value(revoke, second.id, user), true)
    const rotated = await db.value('SELECT qsessions.rotate_key($1)', member.key)
    const everywhereElse = 'SELECT qsessions.revoke_user_sessions($1, except_key => $2)'
    assert.equal(await db.value(everywhereElse, user, rotated), '1')
    assert.equal(await db.value(everywhereElse, other, null), '0')
    const { total, active, users } = await db.row('SELECT * FROM qsessions.stats()')
    assert.deepEqual([total, active, users], ['1', '1', '1'])
    assert.equal(await db.value('SELECT qsessions.logout($1)', rotated), true)
    assert.equal(await db.value('SELECT qsessions.logout($1)', rotated), false)
  },

  async 'a rotated key works for its grace'(db, user) {
    const { key } = await db.row('SELECT * FROM qsessions.create_session($1)', user)
    const rotate = 'SELECT qsessions.rotate_key($1, grace => $2)'
    const present = await db.value(rotate, key, '30 seconds')
    assert.deepEqual(await db.load(key), await db.load(present))
    await db.value(rotate, present, '10 seconds')
    assert.deepEqual(await db.rows('SELECT * FROM qsessions.load_session($1)', key), [])
    for (const grace of ['0 seconds', '2 minutes']) {
      assert.equal((await db.error(rotate, present, grace)).code, '22023')
    }
    const error = await db.error(rotate, present, null)
    assert.equal(error.code, 'QS001')
    assert.ok(error.detail)
  },

  async 'a save can log in'(db, user, other) {
    const { key } = await db.row('SELECT * FROM qsessions.create_session()')
    const save = 'SELECT qsessions.save_session($1, $2, user_id => $3)'
    assert.equal(await db.value(save, key, { a: 1 }, user), '2')
    assert.equal(await db.value(save, key, { a: 1 }, String(user)), '3')
    assert.equal(await db.value(save, key, { a: 1 }, null), '4')
    assert.equal((await db.error(save, key, {}, other)).code, '22023')
    const session = await db.load(key)
    assert.equal(session.user_id, String(user))
    assert.ok(session.authenticated_at instanceof Date)
  },

  async 'sessions of another store are imported'(db, user) {
    const call = `SELECT qsessions.import_session(
      $1, $2, $3, $4, $5, created_at => $6, last_seen_at => $7, expires_at => $8, client_hints => $9)`
    const [begun, seen] = [new Date('2026-01-01T00:00:00Z'), new Date('2026-01-03T00:00:00Z')]
    const expires = new Date(Date.now() + 86_400_000)
    const values = ['key of another store', user, { a: 1 }, '192.0.2.7', userAgent, begun, seen, expires,
      { 'Sec-CH-UA-Mobile': '?0' }]
    assert.equal(await db.value(call, ...values), true)
    assert.equal(await db.value(call, ...values), false)
    const session = await db.load(values[0])
    assert.deepEqual([session.created_at, session.last_seen_at, session.expires_at], [begun, seen, expires])
    assert.equal(session.user_id, String(user))
    assert.equal(await db.value('SELECT qsessions.import_session($1)', 'the key alone'), true)
  },

  async 'visits are recorded in bulk'(db, user) {
    const begun = []
    for (let number = 0; number < 3; number += 1) {
      begun.push(await db.row('SELECT * FROM qsessions.create_session($1)', user))
    }
    const record = 'SELECT qsessions.record_visits($1, $2, $3, $4, $5, $6)'
    const now = new Date(Date.now() + 1000)
    const ips = ['192.0.2.7', null, '2001:db8::1']
    const agents = [null, userAgent, 'curl/8.5.0 {"quoted", \\}']
    const values = [
      begun.map(({ id }) => id),
      begun.map(({ key }) => createHash('sha256').update(key).digest()),
      ips, agents, [now, now, now],
      // pg writes an object in an array as JSON text.
      [{ 'Sec-CH-UA-Model': '"a, b"' }, null, null],
    ]
    assert.equal(await db.value(record, ...values), '3')
    assert.equal(await db.value(record, ...values), '0')
    const found = await Promise.all(begun.map(({ key }) => db.load(key)))
    assert.deepEqual(found.map(({ ip }) => ip), ips)
    assert.deepEqual(found.map((session) => session.user_agent), agents)
    const hints = 'SELECT client_hints FROM qsessions.session WHERE id = $1'
    assert.deepEqual(await db.value(hints, begun[0].id), { 'sec-ch-ua-model': '"a, b"' })
    assert.equal((await db.error(record, ...values.slice(0, 5), [])).code, '22023')
    assert.equal((await db.error(record, null, ...values.slice(1))).code, '22004')
  },

  async 'sessions are revoked by filters'(db, user, other) {
    const create = 'SELECT * FROM qsessions.create_session($1, ip => $2, user_agent => $3)'
    for (const [owner, ip] of [[user, '192.0.2.1'], [user, '192.0.2.2'], [other, '192.0.2.3'], [other, '198.51.100.1']]) {
      await db.row(create, owner, ip, userAgent)
    }
    const revoke = 'SELECT qsessions.revoke_sessions($1, $2, $3, $4, $5, $6)'
    const later = new Date(Date.now() + 3_600_000)
    assert.equal(await db.value(revoke, user, '192.0.2.0/24', null, null, null, 1), '1')
    assert.equal(await db.value(revoke, null, '192.0.2.0/24', later, later, '%Firefox%', null), '2')
    assert.equal(await db.value('SELECT qsessions.revoke_sessions(user_id => $1)', other), '1')
    assert.equal((await db.error(revoke, ...Array(6).fill(null))).code, '22023')
  },

  async 'lists are filtered'(db, user) {
    for (const agent of [userAgent, 'curl/8.5.0', null]) {
      await db.row('SELECT * FROM qsessions.create_session($1, user_agent => $2)', user, agent)
    }
    const listed = `SELECT * FROM qsessions.list_sessions(
      user_id => $1, device => $2, country => $3, last_seen_after => $4)`
    const hour = (hours) => new Date(Date.now() + hours * 3_600_000)
    assert.equal((await db.rows(listed, user, null, null, null)).length, 3)
    assert.equal((await db.rows(listed, user, 'FIREFOX', null, hour(-1))).length, 1)
    assert.equal((await db.rows(listed, user, null, null, hour(1))).length, 0)
    assert.equal((await db.error(listed, user, null, 'Germany', null)).code, '22023')
  },

  async 'errors come with their SQLSTATE'(db, user) {
    const { key } = await db.row('SELECT * FROM qsessions.create_session($1)', user)
    const save = 'SELECT qsessions.save_session($1, $2)'
    const cases = [
      [save, ['no such key', {}], 'QS001'],
      [save, [null, {}], 'QS003'],
      [save, [key, null], '22004'],
      [save, [key, { large: 'x'.repeat(1 << 20) }], 'QS004'],
      [save, [key, '{broken'], '22P02'],
      [save, [key, { text: 'a\0b' }], '22P05'],
      [save, [key, { 'a\0b': 1 }], '22P05'],
      [save, [key, { text: '\ud800' }], '22P02'],
      [save, [key, '{"number": NaN}'], '22P02'],
      ['SELECT qsessions.create_session(user_agent => $1)', ['a\0b'], '22021'],
      ['SELECT qsessions.session_id($1)', ['short'], 'QS003'],
      ['SELECT qsessions.create_session(ttl => $1)', ['0 seconds'], '22023'],
      ['SELECT qsessions.create_session(ip => $1)', ['not an address'], '22P02'],
      ['SELECT qsessions.create_session(key => $1)', [key], '23505'],
      ['SELECT qsessions.login($1, $2)', [key, null], '22004'],
    ]
    for (const [statement, values, code] of cases) {
      const error = await db.error(statement, ...values)
      assert.equal(error.code, code, `${statement}: ${error}`)
      for (const part of [error.message, error.detail, error.hint, error.where]) {
        assert.ok(!part?.includes(key), part)
      }
    }
    const stranger = uuid.test(user) ? 'ffffffff-0000-4000-8000-000000000000' : '4711'
    assert.equal((await db.error('SELECT qsessions.create_session($1)', stranger)).code, '23503')
  },

  async 'text that jsonb refuses can be cleaned'(db) {
    const { key } = await db.row('SELECT * FROM qsessions.create_session()')
    const text = 'a\0b\ud800'.replaceAll('\0', '').toWellFormed()
    await db.value('SELECT qsessions.save_session($1, $2)', key, { text, number: Infinity })
    assert.deepEqual((await db.load(key)).data, { text: 'ab\ufffd', number: null })
  },

  async 'jsonb changes the order of members'(db) {
    const data = '{"long": 1, "b": 2, "a": 3, "b": 4}'
    const { key } = await db.row('SELECT * FROM qsessions.create_session(data => $1)', data)
    assert.deepEqual(Object.entries((await db.load(key)).data), [['a', 3], ['b', 4], ['long', 1]])
  },

  async 'a user who is null owns no session'(db, user) {
    const { key, id } = await db.row('SELECT * FROM qsessions.create_session($1)', user)
    for (const type of ['bigint', 'integer', 'uuid', 'text']) {
      const error = await db.error(`SELECT qsessions.revoke_session($1, $2::${type})`, id, null)
      assert.equal(error.code, '22004')
    }
    assert.equal((await db.error('SELECT qsessions.revoke_session($1, $2)', id, undefined)).code, '22004')
    assert.equal(await db.value('SELECT qsessions.session_exists($1)', key), true)
    assert.equal(await db.value('SELECT qsessions.revoke_session($1)', id), true)
  },

  async 'expired sessions are purged'(db) {
    await db.row('SELECT qsessions.create_session()')
    await db.pool.query('UPDATE qsessions.session SET expires_at = now()')
    assert.equal(await db.value('SELECT qsessions.purge_expired($1)', 1), '1')
    await db.pool.query('CALL qsessions.purge(batch_size => $1, max_batches => $2)', [100, null])
  },
})
