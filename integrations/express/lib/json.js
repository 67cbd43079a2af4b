'use strict'

// PostgreSQL's jsonb holds neither NUL nor half of a surrogate pair. Each is stored as the character
// U+FFFE and its code in four hexadecimal digits, and so is U+FFFE itself.

const MARK = '\ufffe'
// An escape that is not one of these has its own alternative, so that its second character does not
// begin a match: "\\u0000" is a backslash and five characters.
const REFUSED = /\\u0000|\\u(d[89a-f][0-9a-f]{2})|\\.|\ufffe/g

/**
 * JSON text as jsonb accepts it.
 *
 * @param {string} text What JSON.stringify returns. It escapes NUL and halves of surrogate pairs.
 * @returns {string}
 */
function encode(text) {
  if (!text.includes('\\u') && !text.includes(MARK)) return text
  return text.replace(REFUSED, (found, surrogate) => {
    if (found === MARK) return `${MARK}fffe`
    if (surrogate !== undefined) return MARK + surrogate
    return found === '\\u0000' ? `${MARK}0000` : found
  })
}

/**
 * The JSON text that encode() got.
 *
 * @param {string} text
 * @returns {string}
 */
function decode(text) {
  return text.includes(MARK) ? text.replace(/\ufffe([0-9a-f]{4})/g, '\\u$1') : text
}

/** A name of a member as the data in the database has it. */
function encodeName(name) {
  return JSON.parse(encode(JSON.stringify(name)))
}

/**
 * The JSON text of an object from the JSON texts of its members.
 *
 * @param {Iterable<[string, string]>} members
 * @returns {string}
 */
function objectText(members) {
  const parts = []
  for (const [name, text] of members) parts.push(`${JSON.stringify(name)}:${text}`)
  return `{${parts.join(',')}}`
}

module.exports = { decode, encode, encodeName, objectText }
