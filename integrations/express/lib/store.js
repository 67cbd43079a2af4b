'use strict'

const { Store } = require('express-session')

const { isObject, loadCookie } = require('./cookie')
const { readOptions } = require('./options')
const { Pruning } = require('./pruning')
const { Sessions } = require('./sessions')
const { SessionState } = require('./state')

// For the functions that are called with a request. It is registered, because an application can
// have two copies of the package.
const INTERNALS = Symbol.for('qsessions-express.internals')

// The state of a session that get() or express-session has made. It is neither enumerable nor copied. A
// WeakMap would do, but each entry makes the garbage collector slower.
const STATE = Symbol('qsessions-express.state')

function remember(session, state) {
  Object.defineProperty(session, STATE, { value: state, configurable: true })
}

/** A store for express-session that keeps sessions in PostgreSQL with qsessions. */
class QsessionsStore extends Store {
  #options
  #sessions
  #pruning
  #generate

  /** @param {import('..').QsessionsStoreOptions} [options] */
  constructor(options = {}) {
    super()
    const onEnded = (id) => this.emit('ended', id)
    this.#options = { ...readOptions(options), onEnded }
    this.#sessions = new Sessions(this.#options)
    this.#pruning = new Pruning(this.#options.database, this.#options.pruneDelay, this.#options.errorLog)
    // express-session sets this function, and calls it for each new session. Only the sessions that
    // it makes are ever inserted.
    Object.defineProperty(this, 'generate', {
      configurable: true,
      enumerable: true,
      get: () => this.#generate && ((req) => this.#generateFor(req)),
      set: (generate) => { this.#generate = generate },
    })
    Object.defineProperty(this, INTERNALS, {
      value: {
        sessions: this.#sessions,
        options: this.#options,
        stateOf: (session) => session[STATE],
        begin: (req, state, data) => this.#begin(req, state, data),
        newCookie: (req) => this.#newCookie(req),
      },
    })
  }

  get(sid, fn) {
    this.#answer(this.#sessions.load(sid), fn, (found) => this.#loaded(found))
  }

  #loaded(found) {
    if (found === null) return null
    const { state, data } = found
    data.cookie = loadCookie(data.cookie, state.expiresAt)
    remember(data, state)
    return data
  }

  set(sid, session, fn) {
    const state = session[STATE]
    // Without a state, it is a copy of a session that was loaded.
    const isKnown = state !== undefined && state.key === sid
    const save = () => isKnown ? this.#sessions.save(state, session) : this.#sessions.replace(sid, session)
    this.#answer(attempt(save), fn)
  }

  touch(sid, session, fn) {
    const state = session[STATE]
    const touch = () => state === undefined ? Promise.resolve() : this.#sessions.touch(state, session)
    this.#answer(attempt(touch), fn)
  }

  destroy(sid, fn) {
    this.#answer(this.#sessions.end(sid), fn)
  }

  all(fn) {
    const withCookie = ([id, stored, expiresAt]) => {
      // Another program may have stored an array or a number.
      const data = isObject(stored) && !Array.isArray(stored) ? stored : {}
      return [id, { ...data, cookie: loadCookie(data.cookie, expiresAt) }]
    }
    this.#answer(this.#sessions.all().then((all) => Object.fromEntries(all.map(withCookie))), fn)
  }

  length(fn) {
    this.#answer(this.#options.database.value('count').then(Number), fn)
  }

  clear(fn) {
    this.#answer(this.#options.database.run('clear').then(() => undefined), fn)
  }

  /** Deletes the rows of expired sessions. */
  pruneSessions(fn) {
    this.#answer(this.#pruning.run(), fn)
  }

  /** Stops deleting expired sessions, and closes the pool if the store has made it. */
  async close() {
    this.#pruning.close()
    const pool = this.#options.ownedPool
    this.#options.ownedPool = null
    await pool?.end()
  }

  createSession(req, data) {
    const state = data[STATE]
    // Another program has begun the session, and knows nothing of this application's cookies.
    if (state && state.cookie === undefined && req.res) data.cookie = this.#newCookie(req)
    const session = super.createSession(req, data)
    if (state) remember(session, state)
    return session
  }

  #generateFor(req) {
    this.#generate(req)
    remember(req.session, new SessionState(req.sessionID))
  }

  /** The cookie of a new session, as the options of express-session say. */
  #newCookie(req) {
    const { sessionID, session } = req
    this.#generate(req)
    const { cookie } = req.session
    Object.assign(req, { sessionID, session })
    return cookie.toJSON()
  }

  /** Makes a session the one of a request. */
  #begin(req, state, data) {
    remember(data, state)
    req.sessionID = state.key
    return this.createSession(req, data)
  }

  #answer(promise, fn, result = (value) => value) {
    this.#pruning.schedule()
    promise.then((value) => callBack(fn, null, result(value)), (error) => callBack(fn, withoutMissing(error)))
  }
}

/** The promise that a function returns, or one that is rejected with its exception. */
function attempt(start) {
  try {
    return start()
  } catch (error) {
    return Promise.reject(error)
  }
}

/**
 * express-session takes an error with the code ENOENT for a session that does not exist, and would sign
 * the visitor out. pg raises it if the Unix socket is missing because the server is down.
 */
function withoutMissing(error) {
  return error?.code === 'ENOENT' ? new Error(error.message, { cause: error }) : error
}

/** Calls a callback, whose exception does not become a rejection of a promise. */
function callBack(fn, ...values) {
  if (!fn) return
  try {
    fn(...values)
  } catch (error) {
    process.nextTick(() => { throw error })
  }
}

module.exports = { INTERNALS, QsessionsStore }
