'use strict'

const { randomFillSync } = require('node:crypto')

const ID_BYTES = 16
const SECRET_BYTES = 20
const MAX_COUNT = 0xfff

let lastMillis = 0
let count = 0

/**
 * Makes a key in the format of qsessions.generate_key(): 48 characters of base64url, which hold the
 * public id of the session (a UUIDv7) and 160 random bits. It takes no argument, so that it can be
 * the option `genid` of express-session.
 *
 * @returns {string}
 */
function generateKey() {
  const bytes = Buffer.allocUnsafe(ID_BYTES + SECRET_BYTES)
  randomFillSync(bytes, 8)
  const [millis, order] = nextTime()
  bytes.writeUIntBE(millis, 0, 6)
  bytes.writeUInt16BE(0x7000 | order, 6)
  bytes[8] = 0x80 | (bytes[8] & 0x3f)
  return bytes.toString('base64url')
}

/**
 * The time in milliseconds, and the number of this id within the millisecond. Ids of one process
 * sort in the order in which they were made, also if the clock is set back.
 */
function nextTime() {
  const now = Date.now()
  if (now > lastMillis) {
    lastMillis = now
    count = 0
  } else if (count < MAX_COUNT) {
    count += 1
  } else {
    lastMillis += 1
    count = 0
  }
  return [lastMillis, count]
}

module.exports = { generateKey }
