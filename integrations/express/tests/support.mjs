// Databases, applications and visitors of the tests. The packages are those that tests/run has
// installed; qsessions-express is installed from the built file.

import { once } from 'node:events'
import http from 'node:http'
import { createRequire } from 'node:module'
import process from 'node:process'
import { after } from 'node:test'

const folder = process.env.QSESSIONS_EXPRESS_PACKAGES
if (!folder) throw new Error('run the tests with integrations/express/tests/run')

export const packages = `${folder}/node_modules`
export const require = createRequire(`${folder}/`)
export const express = require(process.env.QSESSIONS_EXPRESS)
export const session = require('express-session')
export const pg = require('pg')
export const qsessions = require('qsessions-express')
export const { QsessionsStore } = qsessions

export const SECRET = 'of these tests only'
export const USER_AGENT = 'Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0'

/** A database of its own for a test file, with users 1 to 9 and a session table. */
export async function openDatabase(name, { table = true } = {}) {
  const maker = new pg.Client()
  await maker.connect()
  await maker.query(`CREATE DATABASE ${name}`)
  await maker.end()
  const pool = new pg.Pool({ database: name })
  await pool.query(`
    CREATE EXTENSION qsessions;
    CREATE TABLE users (id bigint PRIMARY KEY);
    INSERT INTO users SELECT generate_series(1, 9)`)
  if (table) await pool.query("SELECT qsessions.create_session_table('users')")
  const closing = [() => pool.end()]
  after(async () => {
    for (const close of closing.reverse()) await close()
  })
  return {
    name,
    pool,
    /** The rows of a query as arrays. */
    async rows(text, ...values) {
      return (await pool.query({ text, values, rowMode: 'array' })).rows
    },
    /** The first value of the first row. */
    async value(text, ...values) {
      return (await this.rows(text, ...values))[0][0]
    },
    /** A store on this database, which is closed at the end. */
    store(options = {}) {
      const store = new QsessionsStore({ pool, pruneSessionInterval: false, ...options })
      closing.push(() => store.close())
      return store
    },
    /** Calls a function at the end. */
    atEnd(close) {
      closing.push(close)
    },
  }
}

/**
 * A pool that counts its statements, and calls `before` with the text of each before it is sent.
 */
export function watched(pool) {
  const watch = { statements: [], before: null }
  watch.pool = {
    async query(query, values) {
      watch.statements.push(query.text)
      await watch.before?.(query.text)
      return pool.query(query, values)
    },
    connect: () => pool.connect(),
  }
  return watch
}

/** Express with sessions. `routes` gets the application. */
export function application(store, routes, { options = {}, visitor = {} } = {}) {
  const app = express()
  app.set('trust proxy', 'loopback')
  app.set('env', 'test')
  if (visitor) app.use(qsessions.visitor(visitor))
  app.use(session({
    store,
    secret: SECRET,
    genid: qsessions.generateKey,
    resave: false,
    saveUninitialized: false,
    ...options,
  }))
  routes(app)
  // The default handler prints errors.
  app.use((error, req, res, next) => {
    if (res.headersSent) return next(error)
    res.status(500).json({ error: error.message, name: error.name, code: error.code })
  })
  return app
}

/** Serves an application. Returns its address. */
export async function serve(database, app) {
  const server = http.createServer(app).listen(0, '127.0.0.1')
  await once(server, 'listening')
  database.atEnd(() => new Promise((resolve) => {
    server.close(resolve)
    server.closeAllConnections()
  }))
  return `http://127.0.0.1:${server.address().port}`
}

/** Someone with a browser that keeps one cookie. */
export class Visitor {
  constructor(address, { ip = '192.0.2.1', userAgent = USER_AGENT, headers = {} } = {}) {
    this.address = address
    this.headers = { 'X-Forwarded-For': ip, 'User-Agent': userAgent, ...headers }
    this.cookie = null
    /** The attributes of the cookie that was set last. */
    this.attributes = null
  }

  /** Another window of the same browser. */
  copy() {
    return Object.assign(new Visitor(this.address), this, { headers: { ...this.headers } })
  }

  /** The key of the session, as the cookie has it. */
  get key() {
    return this.cookie && decodeURIComponent(this.cookie.split('=')[1]).slice(2).split('.')[0]
  }

  /** Returns the JSON that the application answers. */
  async get(path, { status = 200 } = {}) {
    const headers = { ...this.headers }
    if (this.cookie) headers.Cookie = this.cookie
    const response = await fetch(this.address + path, { headers, redirect: 'manual' })
    const text = await response.text()
    if (response.status !== status) throw new Error(`${path}: ${response.status} ${text}`)
    this.response = response
    this.changed = false
    for (const line of response.headers.getSetCookie()) {
      [this.cookie, ...this.attributes] = line.split('; ')
      this.changed = true
    }
    return text && status !== 302 ? JSON.parse(text) : null
  }
}

/** Calls a method of a store that takes a callback, and returns a promise. */
export function call(store, method, ...values) {
  return new Promise((resolve, reject) => {
    store[method](...values, (error, result) => error ? reject(error) : resolve(result))
  })
}

/** A promise with the functions that settle it. */
export function gate() {
  const made = {}
  made.promise = new Promise((resolve) => { made.open = resolve })
  return made
}
