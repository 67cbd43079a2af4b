// The page of devices.

import assert from 'node:assert/strict'

import { axe, browserTest, laptop, phone } from './site.mjs'

browserTest('two devices see each other, and one signs the other out', async (visit) => {
  const [one, two] = [await visit(laptop), await visit(phone)]
  await one.signIn('thandi')
  await two.signIn('thandi')
  await two.device('This device', 'iPhone').waitFor()
  await two.device('Other devices', 'Chromium').first().waitFor()

  await one.page.reload()
  const other = one.device('Other devices', 'Safari 18.6')
  await other.getByRole('button', { name: 'Sign out' }).click()
  await one.page.getByRole('status').filter({ hasText: 'signed out on that device' }).waitFor()
  assert.equal(await other.count(), 0)

  // The next click there leads to the sign-in, and from there to the page that was asked for.
  await two.page.goto('/devices/')
  await two.heading('Sign in')
  await two.fillIn('thandi')
  await two.heading('Your devices')
  await one.page.reload()
  await one.heading('Your devices')
})

browserTest('all other devices are signed out at once, and then this one', async (visit) => {
  const [one, two] = [await visit(phone), await visit(laptop)]
  await one.signIn('mateo')
  await two.signIn('mateo')
  await one.page.reload()
  await one.page.getByRole('button', { name: 'Sign out on all other devices' }).click()
  await one.page.getByText('You are signed in nowhere else').waitFor()
  await two.page.reload()
  await two.heading('Sign in')
  await one.device('This device', 'iPhone').getByRole('button', { name: 'Sign out' }).click()
  await one.heading('Sign in')
  await one.page.goto('/devices/')
  await one.heading('Sign in')
})

browserTest('the page needs no scripts', async (visit) => {
  const [one, two] = [await visit(laptop, { javaScriptEnabled: false }), await visit(phone)]
  await two.signIn('thandi')
  await one.signIn('thandi')
  await one.device('Other devices', 'Safari 18.6').first().getByRole('button', { name: 'Sign out' }).click()
  await one.page.getByText('You are signed out on that device.').waitFor()
})

browserTest('a device is signed out with the keyboard alone', async (visit) => {
  const [{ page }, other] = [await visit(laptop), await visit(phone)]
  await other.signIn('ada')
  await page.goto('/devices/')
  await tabTo(page, page.getByLabel('Username'))
  await page.keyboard.type('ada')
  await page.keyboard.press('Tab')
  await page.keyboard.type('secret')
  await page.keyboard.press('Enter')
  await page.getByRole('heading', { level: 1, name: 'Your devices' }).waitFor()
  const buttons = page.getByRole('button', { name: /^Sign out ?: iPhone, iOS 18.6/ })
  const before = await buttons.count()
  await tabTo(page, buttons.first())
  await page.keyboard.press('Space')
  const done = page.getByRole('status')
  await done.waitFor()
  // It has the focus, so that a screen reader reads it.
  assert(await done.evaluate((element) => element === document.activeElement))
  assert.equal(await buttons.count(), before - 1)
})

/** Presses Tab until this element has the focus, as a person who cannot use a mouse does. */
async function tabTo(page, locator) {
  await locator.waitFor()
  for (let n = 0; n < 40; n += 1) {
    await page.keyboard.press('Tab')
    if (await locator.evaluate((element) => element === document.activeElement)) {
      const outline = await locator.evaluate((element) => getComputedStyle(element).outlineStyle)
      assert.notEqual(outline, 'none', `the focus on ${locator} cannot be seen`)
      return
    }
  }
  assert.fail(`Tab does not lead to ${locator}`)
}

for (const [width, device] of Object.entries({ phone, laptop })) {
  for (const colorScheme of ['light', 'dark']) {
    for (const locale of ['en', 'fa']) {
      browserTest(`axe finds nothing serious on a ${width} in ${colorScheme} colors in ${locale}`, async (visit) => {
        const { page } = await visit(device, { colorScheme, locale, bypassCSP: true })
        await page.goto('/devices/')
        await page.locator('[name=username]').fill('ada')
        await page.locator('[name=password]').fill('secret')
        await page.locator('button').click()
        await page.locator('.devices').first().waitFor()
        assert.equal(await page.locator('html').getAttribute('dir'), locale === 'fa' ? 'rtl' : 'ltr')
        assert.deepEqual(await problems(page), [])
      })
    }
  }
}

async function problems(page) {
  await page.evaluate(axe.source)
  const { violations, passes } = await page.evaluate(() => window.axe.run())
  assert(passes.length > 5, 'axe has checked nothing')
  const serious = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical')
  const found = serious.flatMap(({ id, help, nodes }) => nodes.map((node) => `${id}, ${help}: ${node.html}`))
  const [scrollWidth, clientWidth] = await page.evaluate(() => {
    const { scrollWidth, clientWidth } = document.documentElement
    return [scrollWidth, clientWidth]
  })
  if (scrollWidth > clientWidth) found.push(`the page is ${scrollWidth} wide in a window of ${clientWidth}`)
  return found
}
