// A small Express application in a real browser.

import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import process from 'node:process'
import test, { after, before } from 'node:test'

import { openDatabase, serve } from './support.mjs'
import { shop } from './shop.mjs'

// `import` ignores NODE_PATH, where scripts/setup has installed it.
const { chromium } = createRequire(import.meta.url)('playwright-core')
const database = await openDatabase('store_browser')
const address = await serve(database, shop(database.store()))
const PHONE = {
  userAgent: 'Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1',
  viewport: { width: 390, height: 844 },
}
let browser

before(async () => {
  browser = await chromium.launch({ executablePath: process.env.QSESSIONS_CHROMIUM ?? '/usr/bin/chromium' })
})
after(() => browser?.close())

/** A page of a browser without cookies. */
async function visit(options = {}) {
  const context = await browser.newContext({ baseURL: address, ...options })
  context.setDefaultTimeout(20_000)
  const page = await context.newPage()
  await page.goto('/')
  return page
}

async function signIn(page, user) {
  await page.getByLabel('User').fill(user)
  await page.getByRole('button', { name: 'Sign in' }).click()
  await page.getByText(`Signed in as user ${user}`).waitFor()
}

const cookieOf = async (page) => (await page.context().cookies()).find(({ name }) => name === 'connect.sid')

test('a cart of an anonymous visitor survives the sign-in, the cookie does not', async () => {
  const page = await visit()
  assert.equal(await cookieOf(page), undefined)
  await page.getByRole('button', { name: 'Add a book' }).click()
  await page.getByText('In the cart: book').waitFor()
  const before = await cookieOf(page)
  assert.ok(before.httpOnly)
  await signIn(page, '1')
  await page.getByText('In the cart: book').waitFor()
  const present = await cookieOf(page)
  assert.notEqual(present.value, before.value)
  assert.ok(present.expires > Date.now() / 1000 + 29 * 24 * 60 * 60)
})

test('people see their devices and sign them out', async () => {
  const desktop = await visit()
  const phone = await visit(PHONE)
  await signIn(desktop, '2')
  await signIn(phone, '2')
  await phone.getByRole('link', { name: 'Your devices' }).click()
  const items = phone.getByRole('listitem')
  assert.match(await items.first().innerText(), /iPhone \/ iOS 18\.6 .*this one/s)
  // Chromium has told its name in client hints.
  await items.filter({ hasText: /Chrom/ }).getByRole('button', { name: 'Sign out' }).click()
  await phone.waitForFunction(() => document.querySelectorAll('li').length === 1)
  await desktop.reload()
  await desktop.getByText('Not signed in').waitFor()
})

test('people sign out everywhere else, and here', async () => {
  const pages = [await visit(), await visit(), await visit()]
  for (const page of pages) await signIn(page, '3')
  const [here, ...others] = pages
  await here.goto('/devices')
  await here.getByRole('button', { name: 'Sign out everywhere else' }).click()
  await here.waitForFunction(() => document.querySelectorAll('li').length === 1)
  for (const page of others) {
    await page.reload()
    await page.getByText('Not signed in').waitFor()
  }
  await here.getByRole('button', { name: 'Sign out here' }).click()
  await here.getByText('Not signed in').waitFor()
  assert.equal(await database.value('SELECT count(*)::integer FROM qsessions.session WHERE user_id = 3'), 0)
})
