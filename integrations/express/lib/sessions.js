'use strict'

const { cookieData, isSameCookie, lifetimeOf } = require('./cookie')
const { interval } = require('./database')
const { NOT_FOUND, SessionEnded, VERSION_CONFLICT } = require('./errors')
const { decode, encode, encodeName, objectText } = require('./json')
const { OldTable } = require('./old_table')
const { SessionState, membersOf } = require('./state')
const { currentVisit } = require('./visitor')

// A row that slides expires later than this share of its lifetime after a visit: a visit is recorded
// at the latest when a quarter of the lifetime has passed.
const SLIDING_SHARE = 0.7
const ASSIGN_ATTEMPTS = 10

/** Loads, changes and ends sessions. Each state is that of one session in one request. */
class Sessions {
  /** @param {ReturnType<import('./options').readOptions>} options */
  constructor(options) {
    this.options = options
    this.database = options.database
    this.oldTable = options.importFrom && new OldTable(options.importFrom, options)
    /** @type {Map<string, Promise<unknown>>} inserts under way, by key */
    this.inserts = new Map()
  }

  /**
   * Loads the session of a key and records the visit.
   *
   * @param {string} key Anything that a cookie can hold.
   * @returns {Promise<{ state: SessionState, data: object }|null>} null if no live session has this key.
   */
  load(key) {
    // PostgreSQL refuses a NUL in any text.
    if (typeof key !== 'string' || key.includes('\0')) return Promise.resolve(null)
    const { ip, userAgent, hints } = currentVisit()
    const values = [key, ip, userAgent, hints]
    return this.database.run('resume', values).then(({ rows }) => {
      if (rows.length === 0 && this.oldTable !== null) return this.#move(key, values)
      return this.#found(key, rows[0])
    })
  }

  /** Moves a session from the old table, and loads it. */
  async #move(key, values) {
    await this.oldTable.move(key)
    return this.#found(key, await this.database.row('resume', values))
  }

  #found(key, row) {
    if (row === undefined) return null
    const [id, user, text, expiresAt] = row
    const found = SessionState.loaded(key, { id, user, text, expiresAt: Number(expiresAt) })
    const named = this.userOf(found.data)
    // If the data names another user than the row, "log out everywhere" of this user would not find
    // the session, so it must not be used.
    return named !== null && user !== null && named !== user ? null : found
  }

  /**
   * Stores what has changed in a session. Only a new one is inserted.
   *
   * @param {SessionState} state
   * @param {object} session
   */
  save(state, session) {
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
    const { ip, userAgent, hints } = currentVisit(req)
    const [id, expiresAt] = await this.database.row('create', [
      state.key, user, encode(objectText(members)), ip, userAgent, hints, ...this.expiry(lifetime),
      this.maxAge, user === null ? null : this.options.maxSessions])
    Object.assign(state, { id, user, expiresAt: Number(expiresAt) })
    state.saved(members, cookie)
  }

  #update(state, session, { members, cookie, lifetime, user }) {
    const { changes, removed, isCookieChanged } = state.difference(session, members, cookie)
    const isChanged = changes.size > 0 || removed.length > 0
    const movesExpiry = isCookieChanged || (isChanged && this.options.disableTouch)
    const isAssigned = user !== null && user !== state.user
    const note = () => state.saved(members, cookie ?? state.cookie)
    if (!isChanged && !isAssigned) return Promise.resolve()
    if (!movesExpiry && !isAssigned && state.isPatchable) {
      return this.database.run('patch', patchOf(state, changes, removed))
        .then(note, (error) => this.#ended(state, error))
    }
    const change = async () => {
      if (!state.isPatchable) await this.database.run('replace', [state.key, encode(objectText(members))])
      if (isAssigned) await this.#assign(state, changes, removed, user)
      else if (state.isPatchable) await this.database.run('patch', patchOf(state, changes, removed))
      if (movesExpiry) await this.setExpiry(state, lifetime)
    }
    return change().then(note, (error) => this.#ended(state, error))
  }

  /** Patches a session whose data names a user, and gives it to this user. */
  async #assign(state, changes, removed, user) {
    if (state.user !== null) {
      throw new TypeError('the session belongs to another user: call regenerate() or login() before the user changes')
    }
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

  /** Keeps a session alive. The load has moved a sliding expiry already. */
  touch(state, session) {
    const lifetime = lifetimeOf(session.cookie, this.options.ttl)
    const user = this.userOf(session)
    const cookie = cookieData(session.cookie)
    return state.run(() => {
      const isCookieChanged = cookie !== undefined && !isSameCookie(state.cookie, cookie)
      const isAssigned = user !== null && user !== state.user
      const isSliding = this.options.disableTouch || state.expiresAt - Date.now() >= SLIDING_SHARE * lifetime
      if (state.isNew || (!isCookieChanged && !isAssigned && isSliding && lifetime > 0)) return Promise.resolve()
      if (lifetime <= 0) return this.#logout(state.key)
      return this.#keepAlive(state, { cookie: isCookieChanged ? cookie : undefined, user, isAssigned, lifetime })
    })
  }

  async #keepAlive(state, { cookie, user, isAssigned, lifetime }) {
    const changes = new Map(cookie === undefined ? [] : [['cookie', JSON.stringify(cookie)]])
    try {
      if (isAssigned) await this.#assign(state, changes, [], user)
      else if (changes.size > 0 && state.isPatchable) await this.database.run('patch', patchOf(state, changes, []))
      await this.setExpiry(state, lifetime)
      if (cookie !== undefined) state.saved(new Map([...state.members, ...changes]), cookie)
    } catch (error) {
      this.#ended(state, error)
    }
  }

  async setExpiry(state, lifetime, maxAge = null) {
    const values = [state.key, ...this.expiry(lifetime), maxAge]
    state.expiresAt = Number(await this.database.value('expiry', values))
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
      await this.database.run('replace', [key, encode(objectText(membersOf(session)))])
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

/** The arguments of patch_session. */
function patchOf(state, changes, removed) {
  return [state.key, encode(objectText(changes)), removed.map(encodeName)]
}

module.exports = { Sessions, patchOf }
