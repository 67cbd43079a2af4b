// What people do in the shop of `make demo-web`, in a real browser.

import { after, before } from 'node:test'

import { begin, end } from './shop.mjs'

before(begin)
after(end)

await import('./devices.mjs')
await import('./sessions.mjs')
await import('./console.mjs')
await import('./keyboard.mjs')
await import('./accessibility.mjs')
