'use strict'

/** SQLSTATE of a change of a session that has ended. */
const NOT_FOUND = 'QS001'
const VERSION_CONFLICT = 'QS002'

/** A session has ended since it was loaded. The message does not contain its key. */
class SessionEnded extends Error {
  /** @param {string} message */
  constructor(message, options) {
    super(message, options)
    this.name = 'SessionEnded'
    this.code = NOT_FOUND
  }
}

module.exports = { NOT_FOUND, SessionEnded, VERSION_CONFLICT }
