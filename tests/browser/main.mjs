// What people do in the shop of `make demo-web`, in a real browser.

import test, { after, before } from 'node:test'

import { begin, check, end } from './shop.mjs'
import './devices.mjs'
import './sessions.mjs'
import './console.mjs'
import './keyboard.mjs'
import './accessibility.mjs'

before(begin)
after(end)

test('the shop and a browser can be opened', check)
