'use strict'

// How the cookie of express-session and the row of a session belong together. The member `cookie` of
// the data keeps all of the cookie but `expires`, which the row has: it changes with each visit.

// express-session computes `originalMaxAge` again from the clock at each touch, and loses a
// millisecond now and then. That is no change.
const DRIFT_MILLIS = 50

/**
 * The member `cookie` of the data, as JSON text with sorted names, or undefined without a cookie.
 *
 * @param {object} [cookie] A Cookie of express-session, or what it is made from.
 * @returns {string|undefined}
 */
function cookieText(cookie) {
  if (typeof cookie !== 'object' || cookie === null) return undefined
  const data = typeof cookie.toJSON === 'function' ? cookie.toJSON() : cookie
  const names = Object.keys(data).filter((name) => name !== 'expires').sort()
  return JSON.stringify(Object.fromEntries(names.map((name) => [name, data[name]])))
}

/** Whether two texts of cookieText() are the same cookie. */
function isSameCookie(one, other) {
  if (one === other) return true
  if (one === undefined || other === undefined) return false
  const [left, right] = [JSON.parse(one), JSON.parse(other)]
  const difference = Math.abs(left.originalMaxAge - right.originalMaxAge)
  left.originalMaxAge = right.originalMaxAge = null
  return difference <= DRIFT_MILLIS && cookieText(left) === cookieText(right)
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
  const data = typeof stored === 'object' && stored !== null ? stored : {}
  const lasts = Number.isFinite(data.originalMaxAge) && Number.isFinite(expiresAt)
  return { ...data, originalMaxAge: data.originalMaxAge ?? null, expires: lasts ? new Date(expiresAt) : null }
}

module.exports = { cookieText, isSameCookie, lifetimeOf, loadCookie }
