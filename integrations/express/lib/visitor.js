'use strict'

const { AsyncLocalStorage } = require('node:async_hooks')

const HINTS_ASKED_FOR = [
  'Sec-CH-UA-Model', 'Sec-CH-UA-Platform-Version', 'Sec-CH-UA-Full-Version-List', 'Sec-CH-UA-Form-Factors',
].join(', ')

/**
 * What a request says about its sender. The values are as qsessions takes them: text or null.
 *
 * @typedef {{ ip: string|null, userAgent: string|null, hints: string|null }} Visit
 */

/** @type {Visit} */
const NO_VISIT = Object.freeze({ ip: null, userAgent: null, hints: null })

/** @type {AsyncLocalStorage<Visit>} */
const storage = new AsyncLocalStorage()

/**
 * A middleware for Express that tells the store who sends the request. A store is called with a key
 * only, so the middleware must come before that of express-session.
 *
 * @param {{ acceptClientHints?: boolean }} [options] With acceptClientHints, responses ask browsers
 *     for the client hints that name the device.
 */
function visitor({ acceptClientHints = true } = {}) {
  return function qsessionsVisitor(req, res, next) {
    if (acceptClientHints && !res.headersSent) res.setHeader('Accept-CH', HINTS_ASKED_FOR)
    storage.run(visitOf(req), next)
  }
}

/**
 * @param {import('node:http').IncomingMessage} req
 * @returns {Visit}
 */
function visitOf(req) {
  // Express computes `ip` by its setting "trust proxy".
  return {
    ip: req.ip ?? req.socket?.remoteAddress ?? null,
    userAgent: req.headers['user-agent'] ?? null,
    hints: hintsOf(req.headers),
  }
}

/** The headers Sec-CH-UA-* as JSON text, or null if there are none. */
function hintsOf(headers) {
  let hints = null
  for (const name in headers) {
    if (name.startsWith('sec-ch-ua')) (hints ??= {})[name] = headers[name]
  }
  return hints && JSON.stringify(hints)
}

/**
 * The visit of a request, or without one that which the middleware has noted.
 *
 * @param {import('node:http').IncomingMessage} [req]
 * @returns {Visit}
 */
function currentVisit(req) {
  return req?.headers ? visitOf(req) : storage.getStore() ?? NO_VISIT
}

module.exports = { currentVisit, visitor }
