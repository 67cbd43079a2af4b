'use strict'

// What an application does with the session of a request and its user.

const { cookieData, cookieText, lifetimeOf } = require('./cookie')
const { NOT_FOUND, SessionEnded } = require('./errors')
const { objectText } = require('./json')
const { patchOf } = require('./sessions')
const { SessionState, dataText, membersOf } = require('./state')
const { INTERNALS } = require('./store')
const { visitOf } = require('./visitor')

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

/** The internals of the store of a request, and the state of its session. */
function contextOf(req) {
  const internals = req.sessionStore?.[INTERNALS]
  const state = internals && req.session && internals.stateOf(req.session)
  if (!state) throw new TypeError('the request has no session of a QsessionsStore')
  return { ...internals, state, session: req.session }
}

/**
 * Gives the session of a request to a user, under a new key. An anonymous session keeps its data;
 * that of another user ends, and a new one begins. `req.session` is another object afterwards.
 */
async function login(req, userId, { maxSessions } = {}) {
  if (userId === undefined || userId === null) throw new TypeError('the id of the user is missing')
  const { sessions, state, session, begin, newCookie } = contextOf(req)
  const now = membersOf(session)
  const lifetime = lifetimeOf(session.cookie, sessions.options.ttl)
  const limit = maxSessions ?? sessions.options.maxSessions
  let isNew
  const row = await state.run(async () => {
    // Known only now: an insert may have been under way.
    isNew = state.isNew
    await sessions.makePatchable(state, now, cookieData(session.cookie)).catch(ignoreEnded)
    return callLogin(sessions, state, { session, now, lifetime, userId, limit })
  })
  const [key, id, expiresAt, isNewDevice, isNewPlace] = row
  const isKept = isNew || id === state.id
  const next = { id, user: String(userId), expiresAt: Number(expiresAt) }
  const cookie = isKept ? session.cookie.toJSON() : newCookie(req)
  const data = isKept ? { ...session, cookie } : { cookie }
  const stored = SessionState.stored(key, next, isKept ? now : membersOf(data), cookieData(cookie))
  if (isKept) stored.userAlias = state.userAlias
  else await beginAnew(sessions, stored, data)
  begin(req, stored, data)
  return { id, isNewDevice: boolean(isNewDevice), isNewPlace: boolean(isNewPlace) }
}

/** A login of a session that has ended begins another one. */
function ignoreEnded(error) {
  if (error.code !== NOT_FOUND) throw error
}

function callLogin(sessions, state, { session, now, lifetime, userId, limit }) {
  const { ip, userAgent, hints } = visitOf(session.req)
  const visit = [ip, userAgent]
  const user = String(userId)
  if (state.isNew) {
    const data = dataText(now, cookieData(session.cookie))
    return sessions.database.row('login', [
      null, user, ...visit, data, hints, ...sessions.expiry(lifetime), limit, null, [], sessions.maxAge])
  }
  const { changes, removed, isCookieChanged } = state.difference(session, now, cookieData(session.cookie))
  const isChanged = changes.length > 0 || removed.length > 0
  const [, patch, remove] = patchOf(state, changes, removed)
  return sessions.database.row('login', [
    state.key, user, ...visit, null, hints, ...(isCookieChanged ? sessions.expiry(lifetime) : [null, null]),
    limit, isChanged ? patch : null, remove, sessions.maxAge])
}

/** Gives a session that login has begun without data its cookie and its lifetime. */
async function beginAnew(sessions, state, data) {
  await sessions.database.run('patch', [state.key, objectText([['cookie', cookieText(data.cookie)]])])
  await sessions.setExpiry(state, lifetimeOf(data.cookie, sessions.options.ttl), sessions.maxAge)
}

/** Ends the session of a request. `req.session` is undefined afterwards. */
async function logout(req) {
  const { session } = contextOf(req)
  await new Promise((resolve, reject) => {
    session.destroy((error) => error ? reject(error) : resolve())
  })
}

/** The user of the session of a request, as text, or null. */
function userId(req) {
  return contextOf(req).state.user
}

/** The live sessions of the user, last seen first. */
async function devices(req) {
  const { sessions, state } = contextOf(req)
  if (state.user === null) return []
  // The list shows this visit, too.
  await sessions.visit(state, req)
  const { rows } = await sessions.database.run('devices', [state.user, state.key])
  return rows.map(([id, device, location, ip, userAgent, ...more]) => ({
    id,
    device,
    location,
    ip,
    userAgent,
    createdAt: date(more[0]),
    authenticatedAt: date(more[1]),
    lastSeenAt: date(more[2]),
    expiresAt: date(more[3]),
    isCurrent: boolean(more[4]),
  }))
}

/** Ends a session of the user by its public id. False if the user has no such session. */
async function revoke(req, id) {
  const { sessions, state } = contextOf(req)
  // The id comes from a form, and may be anything.
  if (state.user === null || typeof id !== 'string' || !UUID.test(id)) return false
  return boolean(await sessions.database.value('revoke', [id, state.user]))
}

/** Ends all sessions of the user but that of the request. Returns how many. */
async function revokeOthers(req) {
  const { sessions, state } = contextOf(req)
  if (state.user === null) return 0
  return Number(await sessions.database.value('revokeOthers', [state.user, state.key]))
}

/** Gives the session of a request a new key. A session that is not stored yet has a new one already. */
async function rotateKey(req) {
  const { sessions, state, session, begin } = contextOf(req)
  const key = await state.run(async () => {
    if (state.isNew) return null
    try {
      await sessions.makePatchable(state, membersOf(session), cookieData(session.cookie))
      return await sessions.database.value('rotate', [state.key])
    } catch (error) {
      if (error.code !== NOT_FOUND) throw error
      throw new SessionEnded('the session has ended, or its key was rotated by another request', { cause: error })
    }
  })
  if (key === null) return
  const rotated = SessionState.stored(key, state, state.members, state.cookie)
  rotated.isVisitRecorded = state.isVisitRecorded
  rotated.userAlias = state.userAlias
  begin(req, rotated, { ...session, cookie: session.cookie.toJSON() })
}

/** A boolean as PostgreSQL writes it. */
function boolean(text) {
  return text === null ? null : text === 't'
}

/** A time in milliseconds since 1970. A session that never expires has none. */
function date(text) {
  const millis = Number(text)
  return text === null || !Number.isFinite(millis) ? null : new Date(millis)
}

module.exports = { devices, login, logout, revoke, revokeOthers, rotateKey, userId }
