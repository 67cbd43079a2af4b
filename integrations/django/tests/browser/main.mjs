// The page of devices and Django's admin, as people use them in a browser.

import test, { after, before } from 'node:test'

import { begin, check, end } from './site.mjs'
import './devices.mjs'
import './admin.mjs'

before(begin)
after(end)

test('the site and a browser can be opened', check)
