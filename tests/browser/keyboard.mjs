// Everything can be done with a keyboard alone.

import assert from 'node:assert/strict'

import { PASSWORD, browserTest, laptop, desktop } from './shop.mjs'

/** Presses Tab until this element has the focus, as a person who cannot use a mouse does. */
async function tabTo(page, locator) {
  const name = String(locator)
  await locator.waitFor()
  for (let n = 0; n < 60; n += 1) {
    await page.keyboard.press('Tab')
    if (await locator.evaluate((element) => element === document.activeElement)) {
      const outline = await locator.evaluate((element) => getComputedStyle(element).outlineStyle)
      assert.notEqual(outline, 'none', `the focus on ${name} cannot be seen`)
      return
    }
  }
  assert.fail(`Tab does not lead to ${name}`)
}

async function signIn(page, name) {
  await tabTo(page, page.getByLabel('Name'))
  await page.keyboard.type(name)
  await page.keyboard.press('Tab')
  await page.keyboard.type(PASSWORD)
  await page.keyboard.press('Enter')
  await page.getByText(`Signed in as ${name}`).waitFor()
}

browserTest('a device is signed out with the keyboard alone', async ({ visit }) => {
  const [{ page }, other] = [await visit(laptop), await visit(desktop)]
  await other.signIn('Ada')
  await page.goto('/')
  await tabTo(page, page.getByRole('link', { name: 'Sign in' }))
  await page.keyboard.press('Enter')
  await signIn(page, 'Ada')

  await tabTo(page, page.getByRole('link', { name: 'Your devices' }))
  await page.keyboard.press('Enter')
  const button = page.getByRole('button', { name: /^Sign out ?: .*Firefox 140/ })
  await tabTo(page, button)
  await page.keyboard.press('Space')
  await page.getByRole('status').waitFor()
  assert.equal(await button.count(), 0)
  await other.page.goto('/devices')
  await other.heading('Sign in')
})

browserTest('the console searches and ends with the keyboard alone', async ({ visit }) => {
  const [{ page }, other] = [await visit(laptop), await visit(desktop)]
  await other.signIn('Thandi')
  await page.goto('/sign-in')
  await signIn(page, 'Robin')
  await tabTo(page, page.getByRole('link', { name: 'Console' }))
  await page.keyboard.press('Enter')
  await page.getByRole('heading', { level: 1, name: 'Overview' }).waitFor()

  await tabTo(page, page.getByRole('link', { name: 'Sessions', exact: true }))
  await page.keyboard.press('Enter')
  await tabTo(page, page.getByLabel('User'))
  await page.keyboard.type('3')
  await tabTo(page, page.getByLabel('Device'))
  await page.keyboard.type('firefox 140')
  await page.keyboard.press('Enter')
  await tabTo(page, page.getByRole('link', { name: 'End all of these' }))
  await page.keyboard.press('Enter')
  await tabTo(page, page.getByRole('button', { name: /^End \d+ session/ }))
  await page.keyboard.press('Enter')
  await page.getByRole('link', { name: 'To the sessions' }).waitFor()
  await other.page.goto('/devices')
  await other.heading('Sign in')
})
