// What people do in the shop of `make demo-web`, in a real browser.

import test, { after } from 'node:test'

import { begin, end } from './shop.mjs'

after(end)

let failure
try {
  await begin()
} catch (error) {
  failure = error
}
test('the shop and a browser can be opened', () => {
  if (failure) throw failure
})
// Without them, no other test can pass.
if (!failure) {
  await import('./devices.mjs')
  await import('./sessions.mjs')
  await import('./console.mjs')
  await import('./keyboard.mjs')
  await import('./accessibility.mjs')
}
