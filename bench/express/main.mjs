// Measures the store of qsessions-express beside connect-pg-simple, both through the interface that
// express-session calls. bench/run express starts it, says in the environment where everything is,
// and reads the numbers: a line of JSON for each turn.

import fs from 'node:fs'
import { createRequire } from 'node:module'
import process from 'node:process'

const require = createRequire(process.env.BENCH_PACKAGES + '/')
const session = require('express-session')
const { Pool } = require('pg')
const { UAParser } = require('ua-parser-js')
const maxmind = require('maxmind')
const qsessions = require('qsessions-express')
const OldStore = require('connect-pg-simple')(session)

const WORKERS = 8
const HELD = 20
const WARM_UP_SECONDS = 0.3
const rounds = Number(process.env.BENCH_ROUNDS)
const seconds = Number(process.env.BENCH_SECONDS)
const cookie = { maxAge: 14 * 24 * 60 * 60 * 1000 }
const connection = { host: process.env.BENCH_SOCKET_FOLDER, user: process.env.BENCH_USER, database: process.env.BENCH_DATABASE, max: WORKERS }
const places = process.env.BENCH_GEOIP ? await maxmind.open(process.env.BENCH_GEOIP) : null
const cart = JSON.parse(process.env.BENCH_DATA)

const call = (object, method, ...values) => new Promise((resolve, reject) => {
  object[method](...values, (error, result) => error ? reject(error) : resolve(result))
})

/** A store with its pool, as an application uses it. */
class Side {
  constructor(Store, options, genid) {
    this.pool = new Pool(connection)
    this.store = new Store({ pool: this.pool, pruneSessionInterval: false, ...options })
    session({ store: this.store, secret: 'x', resave: false, saveUninitialized: false, cookie, ...genid && { genid } })
  }

  async load(known) {
    const req = { sessionID: known.key, sessionStore: this.store, headers: { 'user-agent': known.agent }, ip: known.ip }
    this.store.createSession(req, await call(this.store, 'get', known.key))
    return req
  }

  begin(known) {
    const req = { sessionStore: this.store, headers: { 'user-agent': known.agent }, ip: known.ip }
    this.store.generate(req)
    Object.assign(req.session, cart)
    return req
  }

  save(req) {
    return call(this.store, 'set', req.sessionID, req.session)
  }
}

class Ours extends Side {
  login(req, user) {
    return qsessions.login(req, user)
  }

  list(req) {
    return qsessions.devices(req)
  }
}

class Theirs extends Side {
  /** As Passport does with keepSessionInfo. */
  async login(req, user) {
    const data = { ...req.session }
    delete data.cookie
    await call(this.store, 'regenerate', req)
    Object.assign(req.session, data, { user, ip: req.ip, agent: req.headers['user-agent'] })
    await this.save(req)
  }

  /** There is an index on the expression. */
  async list(req) {
    const { rows } = await this.pool.query(
      "SELECT sid, sess, expire FROM session WHERE sess->>'user' = $1 AND expire >= now()", [String(req.session.user)])
    return rows.map(({ sid, sess, expire }) => {
      const { browser, os, device } = new UAParser(sess.agent).getResult()
      const place = places?.get(sess.ip)
      return {
        device: [device.model ?? os.name, os.version, browser.name, browser.version].join(' / '),
        location: place && [place.city?.names?.en ?? place.city, place.country?.names?.en ?? place.country_code].join(', '),
        ip: sess.ip,
        expires: expire,
        isCurrent: sid === req.sessionID,
      }
    })
  }
}

/**
 * What a worker does again and again. `prepare` makes the request that it is done with; the time of that
 * does not count. Without it, the request is one whose session was loaded before.
 */
const PARTS = {
  'load': { run: (side, known) => side.load(known) },
  'load and touch': {
    async run(side, known) {
      const req = await side.load(known)
      req.session.touch()
      await call(side.store, 'touch', req.sessionID, req.session)
    },
  },
  'save': {
    run(side, known, req, count) {
      req.session.last = count
      return side.save(req)
    },
  },
  // Before the parts that add sessions.
  'list of 10 sessions': {
    async run(side, known, req) {
      const list = await side.list(req)
      const isComplete = list.length >= 10 && (!places || list.some(({ location }) => location))
      if (!isComplete) throw new Error(`a list has ${list.length} sessions`)
    },
  },
  'login of a new visitor': {
    prepare: (side, known) => side.begin(known),
    run: (side, known, req) => side.login(req, known.user),
  },
  'login with a session': {
    async prepare(side, known) {
      const req = side.begin(known)
      await side.save(req)
      return req
    },
    run: (side, known, req) => side.login(req, known.user),
  },
  'new session': {
    prepare: (side, known) => side.begin(known),
    run: (side, known, req) => side.save(req),
  },
}
const PREPARED = 200

const random = (list) => list[Math.floor(Math.random() * list.length)]

/** Runs a part for a time with all workers. Returns how often it was done in a second. */
async function turn(side, { prepare, run }, known, held, duration) {
  let done = 0
  let spent = 0
  while (spent < duration * 1000) {
    const work = await Promise.all(held.map((mine) =>
      prepare ? prepared(side, prepare, known) : Array.from({ length: PREPARED }, () => [random(known), random(mine)])))
    const begin = performance.now()
    const end = begin + duration * 1000 - spent
    await Promise.all(work.map(async (mine) => {
      for (let index = 0; performance.now() < end; index += 1) {
        if (prepare && index === mine.length) break
        const [one, req] = mine[index % mine.length]
        await run(side, one, req, done)
        done += 1
      }
    }))
    spent += performance.now() - begin
  }
  return done * 1000 / spent
}

async function prepared(side, prepare, known) {
  const made = []
  for (let number = 0; number < PREPARED; number += 1) {
    const one = random(known)
    made.push([one, await prepare(side, one)])
  }
  return made
}

/** Requests for each worker; no two workers have the same session. */
async function hold(side, known) {
  const held = []
  for (let worker = 0; worker < WORKERS; worker += 1) {
    const mine = known.slice(worker * HELD, (worker + 1) * HELD)
    held.push(await Promise.all(mine.map((one) => side.load(one))))
  }
  return held
}

const ours = new Ours(qsessions.QsessionsStore, {}, qsessions.generateKey)
const theirs = new Theirs(OldStore, {})
const { rows } = await ours.pool.query('SELECT key, user_id AS user, ip, agent FROM made ORDER BY random()')
const [reserved, known] = [rows.slice(0, WORKERS * HELD), rows.slice(WORKERS * HELD)]
for (const [name, part] of Object.entries(PARTS)) {
  const held = [await hold(ours, reserved), await hold(theirs, reserved)]
  for (const [index, side] of [ours, theirs].entries()) await turn(side, part, known, held[index], WARM_UP_SECONDS)
  for (let round = 0; round < rounds; round += 1) {
    const speeds = []
    // Which of them is first changes.
    for (const index of round % 2 ? [1, 0] : [0, 1]) {
      speeds[index] = await turn([ours, theirs][index], part, known, held[index], seconds)
    }
    fs.writeSync(1, JSON.stringify([name, ...speeds]) + '\n')
  }
}
await Promise.all([ours, theirs].map(async ({ store, pool }) => {
  await store.close()
  await pool.end()
}))
