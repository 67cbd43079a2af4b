'use strict'

// How the cookie of express-session and the row of a session belong together. The member `cookie` of
// the data keeps all of the cookie but `expires`, which the row has: it changes with each visit.

// express-session computes `originalMaxAge` again from the clock at each touch, and loses a
// millisecond now and then. That is no change.
const DRIFT_MILLIS = 50

/**
 * A copy of what a cookie is made from, or undefined without a cookie.
 *
 * @param {object} [cookie] A Cookie of express-session, or what it is made from.
 * @returns {object|undefined}
 */
function cookieData(cookie) {
  if (!isObject(cookie)) return undefined
  return typeof cookie.toJSON === 'function' ? cookie.toJSON() : { ...cookie }
}

/** The member `cookie` of the data as JSON text, from a result of cookieData(). */
function cookieText(data) {
  return JSON.stringify({ ...data, expires: undefined })
}

/**
 * Whether two cookies are the same but for `expires`. A member that is undefined is none.
 *
 * @param {object|undefined} before
 * @param {object|undefined} now
 */
function isSameCookie(before, now) {
  if (before === undefined || now === undefined) return before === now
  for (const name in now) if (!isSameMember(name, before[name], now[name])) return false
  for (const name in before) if (!(name in now) && !isSameMember(name, before[name], undefined)) return false
  return true
}

function isSameMember(name, before, now) {
  if (before === now || name === 'expires') return true
  return name === 'originalMaxAge' && Number.isFinite(before) && Math.abs(before - now) <= DRIFT_MILLIS
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
  const data = isObject(stored) ? stored : {}
  const lasts = Number.isFinite(data.originalMaxAge) && Number.isFinite(expiresAt)
  return { ...data, originalMaxAge: data.originalMaxAge ?? null, expires: lasts ? new Date(expiresAt) : null }
}

function isObject(value) {
  return typeof value === 'object' && value !== null
}

module.exports = { cookieData, cookieText, isObject, isSameCookie, lifetimeOf, loadCookie }
