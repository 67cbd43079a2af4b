// The page of devices.

import assert from 'node:assert/strict'

import { browserTest, laptop, desktop, phone } from './shop.mjs'

browserTest('two devices see each other, and one signs the other out', async ({ visit }) => {
  const [one, two] = [await visit(laptop), await visit(phone)]
  await one.signIn('Ada')
  await two.signIn('Ada')

  await two.devices()
  await two.device('This device', 'iPhone').waitFor()
  await two.device('Other devices', 'Chromium').waitFor()

  await one.devices()
  await one.device('This device', 'Chromium').waitFor()
  const other = one.device('Other devices', '18.6')
  await other.getByRole('button', { name: 'Sign out' }).click()
  await one.page.getByRole('status').waitFor()
  assert.equal(await other.count(), 0)

  await two.page.goto('/')
  await two.page.getByRole('link', { name: 'Sign in' }).waitFor()
  await two.page.goto('/devices')
  await two.heading('Sign in')

  await one.devices()
})

browserTest('the next click on a device that was signed out leads to the sign-in', async ({ visit }) => {
  const [one, two] = [await visit(laptop), await visit(desktop)]
  await one.signIn('Thandi')
  await two.signIn('Thandi')
  await one.devices()
  const other = one.device('Other devices', 'Firefox 140')
  await other.getByRole('button', { name: 'Sign out' }).click()
  await one.page.getByRole('status').waitFor()

  await two.page.getByRole('link', { name: 'Your devices' }).click()
  await two.heading('Sign in')
  // The sign-in leads to the page that was asked for.
  await two.fillIn('Thandi')
  await two.heading('Your devices')
})

browserTest('all other devices are signed out at once', async ({ visit }) => {
  const [one, two, three] = [await visit(laptop), await visit(phone), await visit(desktop)]
  for (const visitor of [one, two, three]) await visitor.signIn('Mateo')
  await one.devices()
  await one.page.getByRole('button', { name: 'Sign out on all other devices' }).click()
  await one.page.getByRole('status').waitFor()
  await one.page.getByText('You are signed in nowhere else').waitFor()
  for (const visitor of [two, three]) {
    await visitor.page.getByRole('link', { name: 'Your devices' }).click()
    await visitor.heading('Sign in')
  }
  await one.devices()
})

browserTest('this device can be signed out too', async ({ visit }) => {
  const visitor = await visit(phone)
  await visitor.signIn('Mateo')
  await visitor.devices()
  await visitor.device('This device', 'iPhone').getByRole('button', { name: 'Sign out' }).click()
  await visitor.heading('Sign in')
  await visitor.page.goto('/devices')
  await visitor.heading('Sign in')
})

browserTest('a forged address in a header changes nothing', async ({ visit, database }) => {
  const visitor = await visit(laptop, {
    extraHTTPHeaders: {
      'X-Forwarded-For': '131.111.150.25',
      Forwarded: 'for=131.111.150.25',
      'X-Real-IP': '131.111.150.25',
    },
  })
  await visitor.signIn('Thandi')
  await visitor.devices()
  const device = await visitor.device('This device', 'Chromium').innerText()
  assert.match(device, /127\.0\.0\.1/)
  assert.doesNotMatch(device, /131\.111|Cambridge/)
  const { rows } = await database.query('SELECT host(ip) AS ip FROM qsessions.session WHERE digest = sha256($1::bytea)', [
    await visitor.cookie(),
  ])
  assert.deepEqual(rows, [{ ip: '127.0.0.1' }])
})
