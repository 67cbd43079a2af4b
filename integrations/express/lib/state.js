'use strict'

const { cookieText, isObject, isSameCookie } = require('./cookie')
const { decode, encode, objectText } = require('./json')

/**
 * The members of a session but its cookie, as JSON texts by name, as JSON.stringify would write them.
 *
 * @param {object} session
 * @returns {Map<string, string>}
 */
function membersOf(session) {
  const members = new Map()
  for (const name of Object.keys(session)) {
    const text = name === 'cookie' ? undefined : JSON.stringify(session[name])
    if (text !== undefined) members.set(name, text)
  }
  return members
}

/** All of the data as JSON text, from the results of membersOf() and cookieData(). */
function dataText(members, cookie) {
  return encode(objectText(cookie === undefined ? members : [...members, ['cookie', cookieText(cookie)]]))
}

/** What the store remembers of a session from its load to its save. */
class SessionState {
  #text = '[{}]'
  #isPatchable = true
  #members = null
  #work = null

  /**
   * @param {string} key
   * @param {object} [row] What the row has. Without one, the session is new and has no row.
   */
  constructor(key, row) {
    this.key = key
    this.isNew = row === undefined
    this.id = row?.id ?? null
    this.user = row?.user ?? null
    /** How the data writes the id of the user, if that is not how the database writes it. */
    this.userAlias = null
    this.expiresAt = row?.expiresAt ?? null
    this.ip = row?.ip ?? null
    this.userAgent = row?.userAgent ?? null
    /** Whether so much time has passed since the last visit that this one is to be recorded. */
    this.isDue = row?.isDue ?? false
    this.isVisitRecorded = false
    /** The member `cookie` in the database. */
    this.cookie = undefined
  }

  /**
   * The state of a session that was loaded, and its data.
   *
   * @param {string} key
   * @param {string} text A JSON array: the data, then what the row has.
   * @returns {{ state: SessionState, data: object }}
   */
  static loaded(key, text) {
    const [stored, id, user, expiresAt, ip, userAgent, isDue] = JSON.parse(text)
    const state = new SessionState(key, { id, user, expiresAt: Number(expiresAt), ip, userAgent, isDue })
    state.#text = decode(text)
    const data = state.#text === text ? stored : state.#parse()
    state.#isPatchable = isObject(data) && !Array.isArray(data)
    if (!state.#isPatchable) return { state, data: {} }
    state.cookie = isObject(data.cookie) ? data.cookie : undefined
    return { state, data }
  }

  /** The state of a session that the database has with these members. */
  static stored(key, row, members, cookie) {
    const state = new SessionState(key, row)
    state.isVisitRecorded = true
    state.saved(members, cookie)
    return state
  }

  /** Whether the data names no user, or the one of the row. */
  fits(named) {
    return named === null || named === this.user || named === this.userAlias
  }

  /** The data as it was loaded. Each call returns a new object. */
  #parse() {
    return JSON.parse(this.#text)[0]
  }

  /** Whether the data can be patched. Another program may have stored an array or a number. */
  get isPatchable() {
    return this.#isPatchable
  }

  /** The members that the database had when the session was loaded or last saved. */
  get members() {
    // Parsed again, because the application may have changed the objects that it was given.
    return this.#members ??= membersOf(this.#isPatchable ? this.#parse() : {})
  }

  /** Notes that the database has these members now, and which of them is the cookie. */
  saved(members, cookie) {
    this.#members = members
    this.#isPatchable = true
    this.cookie = cookie
    this.isNew = false
  }

  /**
   * What has changed since the session was loaded or last saved.
   *
   * @param {object} session
   * @param {Map<string, string>} now The members of the session.
   * @param {object|undefined} cookie Its cookie, as cookieData() returns it.
   * @returns {{ changes: [string, string][], removed: string[], isCookieChanged: boolean }}
   */
  difference(session, now, cookie) {
    const before = this.members
    const isCookieChanged = cookie !== undefined && !isSameCookie(this.cookie, cookie)
    const changes = []
    for (const [name, text] of now) {
      if (before.get(name) !== text) changes.push([name, text])
    }
    if (isCookieChanged) changes.push(['cookie', cookieText(cookie)])
    // express-session does not show members whose names are those of its methods, such as `save`.
    const isHidden = (name) => name in session && !Object.prototype.propertyIsEnumerable.call(session, name)
    const removed = []
    for (const name of before.keys()) {
      if (!now.has(name) && !isHidden(name)) removed.push(name)
    }
    return { changes, removed, isCookieChanged }
  }

  /**
   * Runs the changes of a session one after the other: the second save of a new session must not
   * insert it again.
   *
   * @template T
   * @param {() => Promise<T>} task
   * @returns {Promise<T>}
   */
  run(task) {
    this.#work = this.#work === null ? task() : this.#work.then(task, task)
    return this.#work
  }
}

module.exports = { SessionState, dataText, membersOf }
