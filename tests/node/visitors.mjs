// Calls the functions about visitors, events and monitoring with the types that are usual in Node.
//
// The arguments and the database are those of database.mjs.

import assert from 'node:assert/strict'

import { run, userAgent } from './database.mjs'

await run({
  async 'client hints are kept'(db, user) {
    const { key, id } = await db.row(
      'SELECT * FROM qsessions.create_session(user_agent => $1, client_hints => $2)',
      userAgent, { 'Sec-CH-UA-Platform': '"Windows"', cookie: 'none of ours' })
    const resume = 'SELECT * FROM qsessions.resume_session($1, client_hints => $2)'
    for (const hints of [{ 'sec-ch-ua-model': '""' }, '["hostile"]', null]) {
      assert.equal((await db.row(resume, key, hints)).id, id)
    }
    const login = 'SELECT * FROM qsessions.login($1, $2, client_hints => $3)'
    await db.row(login, key, user, null)
    const kept = await db.value('SELECT client_hints FROM qsessions.session WHERE id = $1', id)
    assert.deepEqual(kept, { 'sec-ch-ua-model': '""', 'sec-ch-ua-platform': '"Windows"' })
  },

  async 'devices are shown by client hints'(db, user) {
    const agent = 'Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Mobile Safari/537.36'
    const hints = { 'sec-ch-ua-model': '"Pixel 8"', 'sec-ch-ua-platform-version': '"14.0.0"' }
    const shown = 'Pixel 8 / Android 14 / Chrome 131.0.0.0'
    const named = 'user_agent => $1, client_hints => $2'
    assert.equal(await db.value('SELECT qsessions.device($1, $2)', agent, hints), shown)
    assert.equal(await db.value(`SELECT qsessions.device(${named})`, agent, hints), shown)
    assert.equal(await db.value(`SELECT qsessions.device(${named})`, agent, null), 'Phone / Android / Chrome 131.0.0.0')
    const told = await db.row(`SELECT * FROM qsessions.parse_user_agent(${named})`, agent, hints)
    assert.deepEqual([told.device, told.vendor, told.os_version], ['Pixel 8', 'Google', '14'])
    await db.row(`SELECT * FROM qsessions.create_session(user_id => $3, ${named})`, agent, hints, user)
    assert.equal((await db.row('SELECT * FROM qsessions.user_sessions($1)', user)).device, shown)
    assert.equal((await db.row('SELECT * FROM qsessions.list_sessions(device => $1)', 'pixel')).device, shown)
  },

  async 'user agents and locations are looked up'(db) {
    const told = await db.row('SELECT * FROM qsessions.parse_user_agent($1)', userAgent)
    assert.deepEqual([told.browser, told.os, told.is_bot], ['Firefox', 'Linux', false])
    assert.match(await db.value('SELECT qsessions.device($1)', userAgent), /Firefox/)
    assert.equal(await db.value('SELECT qsessions.device($1)', null), null)
    assert.equal(await db.value('SELECT qsessions.location($1)', '192.0.2.1'), null)
    assert.equal(await db.value('SELECT qsessions.location_info($1, locale => $2)', '192.0.2.1', 'de'), null)
  },

  async 'what servers write for an address is read'(db) {
    const cases = {
      '192.0.2.7:4711': '192.0.2.7',
      '::ffff:192.0.2.7': '192.0.2.7',
      '[2001:db8::1]:443': '2001:db8::1',
      'fe80::1%eth0': 'fe80::1',
      '192.0.2.7, 192.0.2.8': null,
      'unix:/run/shop.sock': null,
      localhost: null,
      unknown: null,
      '': null,
    }
    for (const [written, address] of Object.entries(cases)) {
      assert.equal(await db.value('SELECT qsessions.address($1)', written), address, written)
      const { key } = await db.row('SELECT * FROM qsessions.create_session(ip => qsessions.address($1))', written)
      assert.equal((await db.load(key)).ip, address)
    }
  },

  async 'a transaction knows who is asking'(db, user) {
    const { key, id } = await db.row('SELECT * FROM qsessions.create_session($1)', user)
    const who = 'SELECT qsessions.current_user_id() AS user, qsessions.current_session_id() AS session'
    const authenticate = 'SELECT * FROM qsessions.authenticate($1, $2, $3)'
    await db.inTransaction(async (transaction) => {
      assert.equal((await transaction.row(authenticate, key, '192.0.2.7', userAgent)).id, id)
      assert.deepEqual(await transaction.row(who), { user: String(user), session: id })
      assert.deepEqual(await transaction.rows(authenticate, null, null, null), [])
      assert.deepEqual(await transaction.row(who), { user: null, session: null })
      assert.equal((await transaction.row(authenticate, key, null, null)).id, id)
    }, async (connection) => {
      assert.deepEqual(await connection.row(who), { user: null, session: null })
    })
  },

  async 'a read-only transaction records no visit'(db, user) {
    const { key, id } = await db.row('SELECT * FROM qsessions.create_session($1)', user)
    for (const name of ['resume_session', 'authenticate']) {
      await db.inTransaction(async (transaction) => {
        await transaction.rows('SET TRANSACTION READ ONLY')
        const visit = await transaction.row(`SELECT * FROM qsessions.${name}($1, $2)`, key, '192.0.2.7')
        assert.deepEqual([visit.id, visit.ip], [id, null])
      })
    }
    assert.equal((await db.load(key)).ip, null)
  },

  async 'events are recorded'(db, user, other) {
    await db.row('SELECT qsessions.create_event_table(retention => $1)', '30 days')
    try {
      const login = 'SELECT * FROM qsessions.login(NULL, $1, $2, $3)'
      const first = await db.row(login, user, '192.0.2.7', userAgent)
      assert.deepEqual([first.is_new_device, first.is_new_place], [true, null])
      assert.equal((await db.row(login, String(user), '192.0.2.7', userAgent)).is_new_device, false)
      const key = await db.value('SELECT qsessions.rotate_key($1)', first.key)
      await db.value('SELECT qsessions.logout($1)', key)
      await db.value('SELECT qsessions.import_session($1, $2)', 'key of another store', other)
      await db.value('SELECT qsessions.revoke_sessions($1)', other)
      const events = await db.rows('SELECT * FROM qsessions.user_events($1, $2)', user, 10)
      assert.deepEqual(events.map(({ event }) => event), ['logout', 'rotated', 'login', 'login'])
      assert.deepEqual(events.map(({ is_new_device }) => is_new_device), [null, null, false, true])
      assert.match(events[0].device, /Firefox/)
      assert.equal(events[0].session_id, first.id)
      assert.equal(events[0].ip, '192.0.2.7')
      assert.ok(events[0].at instanceof Date)
      assert.deepEqual(await db.rows('SELECT * FROM qsessions.user_events(user_id => $1)', String(user)), events)
      const [revoked, imported] = await db.rows('SELECT * FROM qsessions.user_events($1)', other)
      assert.deepEqual([revoked.event, revoked.revoked_by, imported.event], ['revoked', 'administrator', 'imported'])
    } finally {
      await db.pool.query(`
        TRUNCATE qsessions.session;
        DROP TABLE qsessions.session_event, qsessions.session_event_known, qsessions.session_event_retention`)
    }
  },

  async 'the state is monitored'(db) {
    await db.row('SELECT * FROM qsessions.create_session()')
    const estimated = await db.row('SELECT * FROM qsessions.stats($1)', false)
    assert.equal(Number(estimated.total), Number(estimated.active) + Number(estimated.expired))
    assert.equal((await db.row('SELECT * FROM qsessions.stats(exact => $1)', true)).total, '1')
    assert.ok('logins_total' in await db.row('SELECT * FROM qsessions.metrics()'))
  },

  async 'a role can be granted monitoring'(db, user) {
    await db.row('SELECT * FROM qsessions.create_session($1)', user)
    const role = await db.value("SELECT current_database() || '_monitor'")
    await db.rows(`CREATE ROLE ${role}`)
    try {
      await db.row('SELECT qsessions.grant_monitoring($1)', role)
      await db.inTransaction(async (transaction) => {
        await transaction.rows(`SET LOCAL ROLE ${role}`)
        assert.equal((await transaction.row('SELECT * FROM qsessions.stats()')).users, '1')
        for (const call of ['stats(exact => false)', 'metrics()', 'invalidation_status()', 'geoip_databases()']) {
          await transaction.rows(`SELECT * FROM qsessions.${call}`)
        }
        await transaction.rows('SAVEPOINT before')
        assert.equal((await transaction.error('SELECT data FROM qsessions.session')).code, '42501')
        await transaction.rows('ROLLBACK TO before')
      })
      await db.row('SELECT qsessions.revoke_monitoring(role => $1)', role)
    } finally {
      await db.rows(`DROP ROLE ${role}`)
    }
  },
})
