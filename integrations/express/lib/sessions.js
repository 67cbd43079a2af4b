'use strict'

const { cookieData, isSameCookie, lifetimeOf } = require('./cookie')
const { interval } = require('./database')
const { NOT_FOUND, SessionEnded, VERSION_CONFLICT } = require('./errors')
const { decode, encode, encodeName, objectText } = require('./json')
const { OldTable } = require('./old_table')
const { SessionState, dataText, membersOf } = require('./state')
const { isSameAddress, visitOf } = require('./visitor')

// A row that slides expires later than this share of its lifetime after each visit, because a visit is
// recorded at the latest when a quarter of the lifetime has passed.
const SLIDING_SHARE = 0.7
const ASSIGN_ATTEMPTS = 10
// SQLSTATEs of texts that have no value of the type of users' ids.
const NO_USER = new Set(['22P02', '22003', '22021'])
const OTHER_USER = 'the session belongs to another user: call regenerate() or login() before the user changes'
// The load does not tell which client hints a row has, so those are remembered that this process has
// recorded last.
const REMEMBERED_SESSIONS = 10_000
// Those of browsers have a third of it. A client could send many times as much.
const REMEMBERED_HINTS_LENGTH = 2000

/** Loads, changes and ends sessions. Each state is that of one session in one request. */
class Sessions {
  /** @param {ReturnType<import('./options').readOptions>} options */
  constructor(options) {
    this.options = options
    this.database = options.database
    this.oldTable = options.importFrom && new OldTable(options.importFrom, options)
    /** @type {Map<string, Promise<unknown>>} inserts under way, by key */
    this.inserts = new Map()
    /** @type {Map<string, string>} client hints, by the id of the session */
    this.hints = new Map()
    /** @type {Map<string, number>} when sessions expire that have reached their deadline, by id */
    this.deadlines = new Map()
  }

  /**
   * Loads the session of a key. The visit is recorded at the end of the request, by save() or touch().
   *
   * @param {string} key Anything that a cookie can hold.
   * @returns {Promise<{ state: SessionState, data: object }|null>} null if no live session has this key.
   */
  load(key) {
    // PostgreSQL refuses a NUL in any text.
    if (typeof key !== 'string' || key.includes('\0')) return Promise.resolve(null)
    return this.database.run('load', [key])
      .then(({ rows }) => rows.length > 0 ? this.#found(key, rows[0]) : this.#missing(key))
  }

  /** Moves a session from the old table, or counts a load of nothing. */
  async #missing(key) {
    if (this.oldTable === null) {
      await this.database.run('resume', [key, null, null, null])
      return null
    }
    await this.oldTable.move(key)
    const row = await this.database.row('load', [key])
    return row === undefined ? null : this.#found(key, row)
  }

  #found(key, [text]) {
    const found = SessionState.loaded(key, text)
    const named = this.userOf(found.data)
    const { state } = found
    if (state.user === null || state.fits(named)) return found
    // If the data names another user than the row, "log out everywhere" of this user would not find
    // the session, so it must not be used.
    return this.#isSameUser(named, state.user).then((isSame) => {
      if (!isSame) return null
      state.userAlias = named
      return found
    })
  }

  async #isSameUser(named, user) {
    try {
      return await this.database.value('isSameUser', [named, user]) === 't'
    } catch (error) {
      // The data names what cannot be the id of a user.
      if (NO_USER.has(error.code)) return false
      throw error
    }
  }

  /**
   * Stores what has changed in a session. Only a new one is inserted.
   *
   * @param {SessionState} state
   * @param {object} session
   */
  save(state, session) {
    // A new session that was destroyed has no row yet that could say so.
    if (state.isNew && isDestroyed(session)) {
      if (!this.options.errorOnEnded) return Promise.resolve()
      return Promise.reject(new SessionEnded('the session was destroyed before it was stored'))
    }
    // What the session is now: the application may change it before the statement is sent.
    const now = this.#snapshot(session)
    const saved = state.run(() => {
      if (!state.isNew) return now.lifetime <= 0 ? this.#logout(state.key) : this.#update(state, session, now)
      return now.lifetime <= 0 ? Promise.resolve() : this.#insert(state, session.req, now)
    })
    return state.isNew ? this.#noted(state.key, saved) : saved
  }

  #snapshot(session) {
    return {
      members: membersOf(session),
      cookie: cookieData(session.cookie),
      lifetime: lifetimeOf(session.cookie, this.options.ttl),
      user: this.userOf(session),
    }
  }

  /** Notes an insert as long as it is under way. */
  async #noted(key, insert) {
    this.inserts.set(key, insert)
    try {
      await insert
    } finally {
      if (this.inserts.get(key) === insert) this.inserts.delete(key)
    }
  }

  async #insert(state, req, { members, cookie, lifetime, user }) {
    const { ip, userAgent, hints } = visitOf(req)
    const [id, expiresAt] = await this.database.row('create', [
      state.key, user, dataText(members, cookie), ip, userAgent, hints, ...this.expiry(lifetime),
      this.maxAge, user === null ? null : this.options.maxSessions])
    Object.assign(state, { id, user, expiresAt: Number(expiresAt) })
    state.saved(members, cookie)
    state.isVisitRecorded = true
  }

  #update(state, session, { members, cookie, lifetime, user }) {
    const { changes, removed, isCookieChanged } = state.difference(session, members, cookie)
    const isChanged = changes.length > 0 || removed.length > 0
    const isAssigned = !state.fits(user)
    if (!isChanged && !isAssigned) return this.#keepAlive(state, session.req, lifetime)
    if (isAssigned && state.user !== null) return Promise.reject(new TypeError(OTHER_USER))
    // The save moves the expiry of a row that slides.
    const movesExpiry = isCookieChanged || this.options.disableTouch || !this.#slides(state, lifetime)
    const isSimple = !movesExpiry && !isAssigned && state.isPatchable
    const visit = this.#unrecorded(state, session.req, false)
    const note = () => state.saved(members, cookie ?? state.cookie)
    if (isSimple && visit === null) {
      return this.#patch(state, changes, removed)
        .then(note, (error) => this.#ended(state, error))
    }
    const change = async () => {
      if (!state.isPatchable) await this.database.run('replace', [state.key, dataText(members, cookie)])
      if (isAssigned) await this.#assign(state, changes, removed, user)
      else if (state.isPatchable) await this.#patch(state, changes, removed)
      if (movesExpiry) await this.setExpiry(state, lifetime)
      if (visit !== null) await this.#recordVisit(state, visit)
    }
    return change().then(note, (error) => this.#ended(state, error))
  }

  #patch(state, changes, removed) {
    const values = patchOf(state, changes, removed)
    if (removed.length > 0) return this.database.run('patchAndRemove', values)
    return this.database.run('patch', values.slice(0, 2))
  }

  /** Patches a session whose data names a user, and gives it to this user. */
  async #assign(state, changes, removed, user) {
    for (let attempt = 1; ; attempt += 1) {
      try {
        const row = await this.database.row('assign', [...patchOf(state, changes, removed), user])
        if (row === undefined) throw new SessionEnded('the session has ended since it was loaded')
        state.user = user
        return
      } catch (error) {
        if (error.code !== VERSION_CONFLICT || attempt === ASSIGN_ATTEMPTS) throw error
      }
    }
  }

  /** Records the visit of a request whose session has not changed, and moves the expiry. */
  touch(state, session) {
    const lifetime = lifetimeOf(session.cookie, this.options.ttl)
    const user = this.userOf(session)
    const cookie = cookieData(session.cookie)
    return state.run(() => {
      if (state.isNew) return Promise.resolve()
      if (lifetime <= 0) return this.#logout(state.key)
      const isCookieChanged = cookie !== undefined && !isSameCookie(state.cookie, cookie)
      const isAssigned = !state.fits(user)
      // express-session does not save a session of which only the cookie has changed.
      if (isCookieChanged || isAssigned) return this.#update(state, session, this.#snapshot(session))
      return this.#keepAlive(state, session.req, lifetime)
    })
  }

  #keepAlive(state, req, lifetime) {
    const visit = this.#unrecorded(state, req, true)
    if (visit === null && this.#slides(state, lifetime)) return Promise.resolve()
    const keep = async () => {
      if (visit !== null) await this.#recordVisit(state, visit)
      if (!this.#slides(state, lifetime)) await this.setExpiry(state, lifetime)
    }
    return keep().catch((error) => this.#ended(state, error))
  }

  /** Whether a visit moves the expiry of a session as far as it should. */
  #slides(state, lifetime) {
    return this.options.disableTouch || state.expiresAt - Date.now() >= SLIDING_SHARE * lifetime
      || this.deadlines.get(state.id) === state.expiresAt
  }

  /** The visit of a request, if its row does not have it yet; else null. */
  #unrecorded(state, req, countsTime) {
    if (state.isVisitRecorded) return null
    const visit = visitOf(req)
    const { ip, userAgent, hints } = visit
    const isRecorded = !(countsTime && state.isDue)
      && (ip === null || isSameAddress(ip, state.ip))
      && (userAgent === null || userAgent === state.userAgent)
      && (hints === null || this.hints.get(state.id) === hints)
    return isRecorded ? null : visit
  }

  /** Records the visit of a request, unless that has been done or the session has ended. */
  async visit(state, req) {
    const visit = state.isNew ? null : this.#unrecorded(state, req, true)
    try {
      if (visit !== null) await this.#recordVisit(state, visit)
    } catch (error) {
      if (error.code !== NOT_FOUND) throw error
    }
  }

  async #recordVisit(state, { ip, userAgent, hints }) {
    const row = await this.database.row('resume', [state.key, ip, userAgent, hints])
    if (row === undefined) throw new SessionEnded('the session has ended since it was loaded')
    state.isVisitRecorded = true
    state.expiresAt = Number(row[0])
    if (hints !== null && hints.length <= REMEMBERED_HINTS_LENGTH) remember(this.hints, state.id, hints)
  }

  async setExpiry(state, lifetime, maxAge = null) {
    const values = [state.key, ...this.expiry(lifetime), maxAge]
    state.expiresAt = Number(await this.database.value('expiry', values))
    // The load does not tell the deadline, and each request would try again to move the expiry.
    if (!this.#slides(state, lifetime)) remember(this.deadlines, state.id, state.expiresAt)
  }

  /** Stores the data of a session whose data is no object, so that it can be patched. */
  async makePatchable(state, members, cookie) {
    if (state.isNew || state.isPatchable) return
    await this.database.run('replace', [state.key, dataText(members, cookie)])
    state.saved(members, cookie)
  }

  /** The argument max_age of a session that begins. */
  get maxAge() {
    const { absoluteTimeout } = this.options
    return absoluteTimeout === null ? null : interval(absoluteTimeout * 1000)
  }

  /** The arguments idle_timeout and ttl for a lifetime in milliseconds. */
  expiry(lifetime) {
    return this.options.disableTouch ? [null, interval(lifetime)] : [interval(lifetime), null]
  }

  /**
   * Replaces the data of a session of which there is no state.
   *
   * @param {string} key
   * @param {object} session
   */
  async replace(key, session) {
    if (typeof key !== 'string' || key.includes('\0')) throw new TypeError('the key of a session must be a text')
    const lifetime = lifetimeOf(session.cookie, this.options.ttl)
    if (lifetime <= 0) return this.end(key)
    try {
      await this.database.run('replace', [key, dataText(membersOf(session), cookieData(session.cookie))])
      await this.database.run('expiry', [key, ...this.expiry(lifetime), null])
    } catch (error) {
      if (error.code !== NOT_FOUND) throw error
      throw new SessionEnded(
        'no live session has this key: only a session that express-session has generated is inserted', { cause: error })
    }
  }

  /** Ends the session of a key, also one that is being inserted. */
  async end(key) {
    if (typeof key !== 'string' || key.includes('\0')) return
    await this.inserts.get(key)?.catch(() => {})
    await this.#logout(key)
  }

  async #logout(key) {
    if (this.oldTable !== null) await this.oldTable.remove(key)
    await this.database.run('logout', [key])
  }

  /** Drops the changes of a session that has ended, or reports them if the option says so. */
  #ended(state, error) {
    if (error.code !== NOT_FOUND) throw error
    this.options.onEnded(state.id)
    if (this.options.errorOnEnded) {
      throw new SessionEnded('the session has ended since it was loaded', { cause: error })
    }
  }

  /** The user that the data of a session names, as text, or null. */
  userOf(session) {
    const user = this.options.userOf?.(session) ?? null
    return user === null ? null : String(user)
  }

  /** All live sessions, by their public ids. */
  async all() {
    const { rows } = await this.database.run('all')
    return rows.map(([id, text, expiresAt]) => [id, JSON.parse(decode(text)), Number(expiresAt)])
  }
}

/** Whether the request has destroyed its session, of which the application may have kept the object. */
function isDestroyed({ req }) {
  return req !== undefined && !('session' in req)
}

/** Adds an entry to a Map that has a limited number of them. */
function remember(map, id, value) {
  // A Map keeps the order of insertions, so the first entry is the oldest.
  if (map.size >= REMEMBERED_SESSIONS) map.delete(map.keys().next().value)
  map.set(id, value)
}

/** The arguments of patch_session. */
function patchOf(state, changes, removed) {
  return [state.key, encode(objectText(changes)), removed.map(encodeName)]
}

module.exports = { Sessions, patchOf }
