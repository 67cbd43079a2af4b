'use strict'

const HINTS_ASKED_FOR = [
  'Sec-CH-UA-Model', 'Sec-CH-UA-Platform-Version', 'Sec-CH-UA-Full-Version-List', 'Sec-CH-UA-Form-Factors',
].join(', ')
const MAPPED = /^::ffff:(?=[0-9.]+$)/i

/**
 * What a request says about its sender, as qsessions takes it.
 *
 * @typedef {{ ip: string|null, userAgent: string|null, hints: string|null }} Visit
 */

/** @type {Visit} */
const NO_VISIT = Object.freeze({ ip: null, userAgent: null, hints: null })

/** @type {WeakMap<object, string|null>} addresses that the middleware has found, by request */
const addresses = new WeakMap()

/**
 * A middleware for Express that asks browsers for the client hints that name the device, and that
 * finds the address of the client where `req.ip` does not have it.
 *
 * @param {import('..').VisitorOptions} [options]
 */
function visitor({ acceptClientHints = true, address } = {}) {
  return function qsessionsVisitor(req, res, next) {
    if (acceptClientHints && !res.headersSent) res.setHeader('Accept-CH', HINTS_ASKED_FOR)
    if (address) addresses.set(req, address(req) ?? null)
    next()
  }
}

/**
 * @param {import('node:http').IncomingMessage} [req] Code outside of a request has none.
 * @returns {Visit}
 */
function visitOf(req) {
  if (!req?.headers) return NO_VISIT
  return { ip: addressOf(req), userAgent: req.headers['user-agent'] ?? null, hints: hintsOf(req.headers) }
}

function addressOf(req) {
  if (addresses.has(req)) return addresses.get(req)
  // Express computes `ip` by its setting "trust proxy".
  return req.ip ?? req.socket?.remoteAddress ?? null
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
 * Whether an address is the one that a row has. It may say no for an address that is written in an
 * unusual way.
 *
 * @param {string} written
 * @param {string|null} stored
 */
function isSameAddress(written, stored) {
  return written === stored || written.replace(MAPPED, '') === stored
}

module.exports = { isSameAddress, visitOf, visitor }
