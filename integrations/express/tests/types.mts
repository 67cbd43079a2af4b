// Compiled by package.test.mjs: the package can be imported by an ES module.

import session from 'express-session'
import { QsessionsStore, type QsessionsStoreOptions, generateKey } from 'qsessions-express'

const options: QsessionsStoreOptions = { ttl: 60 }
export const handler = session({ store: new QsessionsStore(options), genid: generateKey, secret: 'x' })
