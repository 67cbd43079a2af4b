'use strict'

const { cookieText, isSameCookie, lifetimeOf } = require('./cookie')
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
  async load(key) {
    // PostgreSQL refuses a NUL in any text.
    if (typeof key !== 'string' || key.includes('\0')) return null
    const { ip, userAgent, hints } = currentVisit()
    const values = [key, ip, userAgent, hints]
    let row = await this.database.row('resume', values)
    if (row === undefined && this.oldTable !== null) {
      await this.oldTable.move(key)
      row = await this.database.row('resume', values)
    }
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
    // The members now: the application may change the session again before the statement is sent.
    const now = membersOf(session)
    const lifetime = lifetimeOf(session.cookie, this.options.ttl)
    const user = this.userOf(session)
    const saved = state.run(async () => {
      if (!state.isNew) {
        return lifetime <= 0 ? this.#logout(state.key) : this.#update(state, session, now, { lifetime, user })
      }
      if (lifetime > 0) return this.#insert(state, now, { lifetime, user, req: session.req })
    })
    return state.isNew ? this.#noted(state.key, saved) : saved
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

  async #insert(state, now, { lifetime, user, req }) {
    const { ip, userAgent, hints } = currentVisit(req)
    const [id, expiresAt] = await this.database.row('create', [
      state.key, user, encode(objectText(now)), ip, userAgent, hints, ...this.expiry(lifetime),
      this.maxAge, user === null ? null : this.options.maxSessions])
    Object.assign(state, { id, user, expiresAt: Number(expiresAt) })
    state.saved(now)
  }

  async #update(state, session, now, { lifetime, user }) {
    const { changes, removed, isCookieChanged } = state.difference(session, now)
    const isChanged = changes.size > 0 || removed.length > 0
    await this.#unlessEnded(state.id, async () => {
      if (isChanged && !state.isPatchable) {
        await this.database.rows('replace', [state.key, encode(objectText(now))])
      }
      if (user !== null && user !== state.user) {
        await this.#assign(state, changes, removed, user)
      } else if (isChanged && state.isPatchable) {
        await this.database.rows('patch', patchOf(state, changes, removed))
      }
      if (isCookieChanged || (isChanged && this.options.disableTouch)) await this.setExpiry(state, lifetime)
    })
    state.saved(now)
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
    const cookie = cookieText(session.cookie)
    return state.run(async () => {
      if (state.isNew) return
      if (lifetime <= 0) return this.#logout(state.key)
      const isCookieChanged = cookie !== undefined && !isSameCookie(state.cookie, cookie)
      const isSliding = state.expiresAt - Date.now() >= SLIDING_SHARE * lifetime
      const changes = new Map(isCookieChanged ? [['cookie', cookie]] : [])
      await this.#unlessEnded(state.id, async () => {
        if (user !== null && user !== state.user) {
          await this.#assign(state, changes, [], user)
        } else if (isCookieChanged && state.isPatchable) {
          await this.database.rows('patch', patchOf(state, changes, []))
        }
        if (isCookieChanged || !(isSliding || this.options.disableTouch)) await this.setExpiry(state, lifetime)
      })
      if (isCookieChanged) state.saved(new Map([...state.members, ...changes]))
    })
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
      await this.database.rows('replace', [key, encode(objectText(membersOf(session)))])
      await this.database.rows('expiry', [key, ...this.expiry(lifetime), null])
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
    await this.database.rows('logout', [key])
  }

  /** Runs changes of a session. If it has ended, they are dropped, or reported if the option says so. */
  async #unlessEnded(id, changes) {
    try {
      await changes()
    } catch (error) {
      if (error.code !== NOT_FOUND) throw error
      this.options.onEnded(id)
      if (this.options.errorOnEnded) {
        throw new SessionEnded('the session has ended since it was loaded', { cause: error })
      }
    }
  }

  /** The user that the data of a session names, as text, or null. */
  userOf(session) {
    const user = this.options.userOf?.(session) ?? null
    return user === null ? null : String(user)
  }

  /** All live sessions, by their public ids. */
  async all() {
    const rows = await this.database.rows('all')
    return rows.map(([id, text, expiresAt]) => [id, JSON.parse(decode(text)), Number(expiresAt)])
  }
}

/** The arguments of patch_session. */
function patchOf(state, changes, removed) {
  return [state.key, encode(objectText(changes)), removed.map(encodeName)]
}

module.exports = { Sessions, patchOf }
