// The installed package: its files, its types, both kinds of modules, and the format of its keys.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { copyFileSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import test from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

import { call, openDatabase, packages, pg, qsessions, require, session } from './support.mjs'

const run = promisify(execFile)
const here = path.dirname(fileURLToPath(import.meta.url))
const database = await openDatabase('store_package', { table: false })

/** Calls a function with a folder in which Node finds the packages. */
async function inFolder(body) {
  const folder = mkdtempSync(path.join(packages, '..', 'program-'))
  try {
    return await body(folder)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

test('the package has what it needs and no more', () => {
  const folder = path.join(packages, 'qsessions-express')
  assert.deepEqual(readdirSync(folder).sort(), [
    'LICENSE-APACHE', 'LICENSE-MIT', 'README.md', 'bin', 'index.d.ts', 'index.js', 'lib', 'package.json'])
  assert.ok(!existsSync(path.join(folder, 'node_modules')))
  assert.ok(readFileSync(path.join(folder, 'bin/qsessions-express.js'), 'utf8').startsWith('#!/usr/bin/env node'))
})

// They do not depend on the version of Express.
const skip = process.env.QSESSIONS_EXPRESS !== 'express5'
test('the types fit those of Express, express-session and pg', { skip }, () => inFolder(async (folder) => {
  for (const name of ['types.ts', 'types.mts']) copyFileSync(path.join(here, name), path.join(folder, name))
  const options = [
    '--strict', '--exactOptionalPropertyTypes', '--noEmit', '--target', 'es2022', '--module', 'nodenext', 'types.ts',
    'types.mts']
  const tsc = require.resolve('typescript/bin/tsc')
  const { stdout } = await run(process.execPath, [tsc, ...options], { cwd: folder }).catch((error) => error)
  assert.equal(stdout, '')
}))

test('import and require give the same store', () => inFolder(async (folder) => {
  const program = path.join(folder, 'program.mjs')
  writeFileSync(program, `
    import { createRequire } from 'node:module'
    import everything, { QsessionsStore, generateKey, login, visitor } from 'qsessions-express'
    const required = createRequire(import.meta.url)('qsessions-express')
    for (const [name, value] of Object.entries({ QsessionsStore, generateKey, login, visitor })) {
      if (required[name] !== value || everything[name] !== value) throw new Error(name)
    }
    console.log('done')`)
  assert.equal((await run(process.execPath, [program])).stdout, 'done\n')
}))

test('keys are those of qsessions, and sort by time', async () => {
  const keys = Array.from({ length: 10_000 }, () => qsessions.generateKey())
  assert.equal(new Set(keys).size, keys.length)
  assert.ok(keys.every((key) => /^[A-Za-z0-9_-]{48}$/.test(key)))
  const rows = await database.rows('SELECT qsessions.session_id(key)::text FROM unnest($1::text[]) AS key', keys)
  const ids = rows.map(([id]) => id)
  assert.ok(ids.every((id) => /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/.test(id)))
  assert.deepEqual(ids, [...ids].sort())
  const [[own]] = await database.rows('SELECT qsessions.session_id(qsessions.generate_key())::text')
  const millis = (id) => parseInt(id.replace('-', '').slice(0, 12), 16)
  assert.ok(Math.abs(millis(own) - millis(ids[0])) < 60_000)
})

test('keys sort although the clock is set back', (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: Date.now() + 60_000 })
  const before = qsessions.generateKey()
  t.mock.timers.setTime(Date.now() - 30_000)
  const after = qsessions.generateKey()
  assert.ok(Buffer.from(before, 'base64url').compare(Buffer.from(after, 'base64url')) < 0)
})

test('the table is created if it is missing, once', async () => {
  const stores = Array.from({ length: 4 }, () => database.store({ createTableIfMissing: 'users' }))
  assert.deepEqual(await Promise.all(stores.map((store) => call(store, 'length'))), [0, 0, 0, 0])
  assert.equal(await database.value(
    "SELECT confrelid = 'users'::regclass FROM pg_constraint WHERE conrelid = 'qsessions.session'::regclass AND contype = 'f'"),
  true)
})

test('the role of an application may do all that the store does', async () => {
  await database.rows('CREATE ROLE express_app LOGIN')
  await database.rows("SELECT qsessions.grant_access('express_app')")
  const store = database.store({ pool: undefined, conObject: { database: database.name, user: 'express_app' } })
  session({ store, secret: 'x', genid: qsessions.generateKey, resave: false, saveUninitialized: false })
  const req = { headers: {}, sessionStore: store }
  store.generate(req)
  await call(store, 'set', req.sessionID, req.session)
  await qsessions.login(req, 1)
  req.session.a = 1
  await call(store, 'set', req.sessionID, req.session)
  assert.equal((await qsessions.devices(req)).length, 1)
  await call(store, 'touch', req.sessionID, req.session)
  assert.equal(await call(store, 'length'), 1)
  assert.equal(Object.keys(await call(store, 'all')).length, 1)
  await qsessions.rotateKey(req)
  await call(store, 'pruneSessions')
  await call(store, 'destroy', req.sessionID)
  await call(store, 'clear')
  await store.close()
})

test('a store without options uses DATABASE_URL, and closes its pool', async (t) => {
  const { DATABASE_URL } = process.env
  process.env.DATABASE_URL = `postgresql:///${database.name}?host=${process.env.PGHOST}`
  t.after(() => {
    if (DATABASE_URL === undefined) delete process.env.DATABASE_URL
    else process.env.DATABASE_URL = DATABASE_URL
  })
  const store = new qsessions.QsessionsStore()
  assert.equal(await call(store, 'length'), 0)
  await store.close()
  await store.close()
  await assert.rejects(call(store, 'length'), /end/)
})

test('no statement contains a key, and statements can do without names', async () => {
  const client = new pg.Client({ database: database.name })
  await client.connect()
  const queries = []
  const pool = {
    query: (query, values) => {
      queries.push(query)
      return client.query(query, values)
    },
  }
  for (const preparedStatements of [true, false]) {
    const store = database.store({ pool, preparedStatements })
    session({ store, secret: 'x', genid: qsessions.generateKey, resave: false, saveUninitialized: false })
    const req = { headers: {}, sessionStore: store }
    store.generate(req)
    await call(store, 'set', req.sessionID, req.session)
    const { sessionID } = req
    await qsessions.login(req, 1)
    await call(store, 'get', req.sessionID)
    for (const { text, name } of queries.splice(0)) {
      assert.ok(!text.includes(sessionID) && !text.includes(req.sessionID))
      assert.equal(name !== undefined, preparedStatements)
    }
  }
  await client.end()
})
