// Compiled by package.test.mjs: the types fit those of Express, express-session and pg.

import express = require('express')
import session = require('express-session')
import { Client, Pool } from 'pg'
import {
  Device, QsessionsStore, SessionEnded, devices, generateKey, importSessions, login, logout, revoke, revokeOthers,
  rotateKey, userId, visitor,
} from 'qsessions-express'

declare module 'express-session' {
  interface SessionData {
    cart: string[]
    passport: { user: number }
  }
}

const pool = new Pool()
const store: session.Store = new QsessionsStore({
  pool, ttl: 3600, userOf: (data) => data.passport?.user, pruneSessionInterval: false, importFrom: { tableName: 'old' },
})
new QsessionsStore({ conObject: { host: '/tmp' }, schemaName: 'qsessions', createTableIfMissing: 'users' })
  .on('ended', (id) => id.toUpperCase())

const app = express()
app.use(visitor({ acceptClientHints: false }))
app.use(session({ store, genid: generateKey, secret: 'x', resave: false, saveUninitialized: false }))
app.get('/', async (req, res) => {
  req.session.cart = ['book']
  const { isNewDevice } = await login(req, 7n, { maxSessions: 3 })
  const list: Device[] = await devices(req)
  const ended: boolean = await revoke(req, req.query.id)
  const others: number = await revokeOthers(req)
  const user: string | null = userId(req)
  await rotateKey(req)
  await logout(req)
  res.json({ isNewDevice, list, ended, others, user, first: list[0].expiresAt?.getTime() })
})

async function move(client: Client): Promise<number> {
  const report = await importSessions(client, { keep: true, userOf: (data) => data.passport?.user })
  return report.moved + report.undecodable
}

export const isEnded = (error: unknown): error is SessionEnded => error instanceof SessionEnded && error.code === 'QS001'
export { move }

// @ts-expect-error: there is no such option
new QsessionsStore({ tableName: 'session' })
// @ts-expect-error: a user must be given
void (async (req: express.Request) => login(req))
// @ts-expect-error: seconds are a number
new QsessionsStore({ ttl: '1 day' })
