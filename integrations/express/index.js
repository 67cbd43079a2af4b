'use strict'

const { QsessionsStore } = require('./lib/store')
const { SessionEnded } = require('./lib/errors')
const { generateKey } = require('./lib/key')
const { visitor } = require('./lib/visitor')
const { devices, login, logout, revoke, revokeOthers, rotateKey, userId } = require('./lib/account')
const { importSessions } = require('./lib/import')

module.exports = {
  QsessionsStore,
  SessionEnded,
  devices,
  generateKey,
  importSessions,
  login,
  logout,
  revoke,
  revokeOthers,
  rotateKey,
  userId,
  visitor,
}
