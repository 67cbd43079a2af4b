'use strict'

// How the cookie of express-session and the row of a session belong together. The member `cookie` of
// the data keeps all of the cookie but `expires`, which the row has: it changes with each visit.

// express-session computes `originalMaxAge` again from the clock at each touch, and loses a
// millisecond now and then. That is no change.
const DRIFT_MILLIS = 50

/**
 * The member `cookie` of the data, or undefined without a cookie.
 *
 * @param {object} [cookie] A Cookie of express-session, or what it is made from.
 * @returns {object|undefined}
 */
function cookieData(cookie) {
  if (typeof cookie !== 'object' || cookie === null) return undefined
  const { expires, ...data } = typeof cookie.toJSON === 'function' ? cookie.toJSON() : cookie
  return data
}

/**
 * Whether two results of cookieData() are the same cookie. A member that is undefined is none.
 *
 * @param {object|undefined} before
 * @param {object|undefined} now
 */
function isSameCookie(before, now) {
  if (before === undefined || now === undefined) return before === now
  for (const name of Object.keys({ ...before, ...now })) {
    if (before[name] === now[name]) continue
    const isDrift = name === 'originalMaxAge' && Math.abs(before[name] - now[name]) <= DRIFT_MILLIS
    if (!isDrift || before[name] === null || now[name] === null) return false
  }
  return true
}

/**
 * How long a session lives without a visit, in milliseconds. It may be zero or less.
 *
 * @param {object} [cookie] A Cookie of express-session, or what it is made from.
 * @param {number} ttl The lifetime in seconds of a session whose cookie ends with the browser.
 * @returns {number}
 */
function lifetimeOf(cookie, ttl) {
  if (Number.isFinite(cookie?.originalMaxAge)) return cookie.originalMaxAge
  const left = cookie?.expires ? new Date(cookie.expires) - Date.now() : NaN
  return Number.isNaN(left) ? ttl * 1000 : left
}

/**
 * What express-session makes a Cookie from.
 *
 * @param {unknown} stored The member `cookie` of the data.
 * @param {number} expiresAt When the session expires, in milliseconds since 1970; may be Infinity.
 */
function loadCookie(stored, expiresAt) {
  const data = cookieData(stored) ?? {}
  const lasts = Number.isFinite(data.originalMaxAge) && Number.isFinite(expiresAt)
  return { ...data, originalMaxAge: data.originalMaxAge ?? null, expires: lasts ? new Date(expiresAt) : null }
}

module.exports = { cookieData, isSameCookie, lifetimeOf, loadCookie }
