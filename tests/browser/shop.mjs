// The shop of `make demo-web` with its database, and browsers that visit it.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import process from 'node:process'
import readline from 'node:readline'
import test from 'node:test'

// `import` ignores NODE_PATH.
const require = createRequire(import.meta.url)
const { chromium } = require('playwright-core')
const pg = require('pg')
export const axe = require('axe-core')

export const PASSWORD = 'demo'
const TARGET = process.env.CARGO_TARGET_DIR ?? 'target'

/** What is used to visit the shop. Chromium tells its name and version in client hints. */
export const laptop = {
  userAgent:
    'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36',
  viewport: { width: 1280, height: 800 },
}
export const phone = {
  userAgent:
    'Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1',
  viewport: { width: 390, height: 844 },
  isMobile: true,
  hasTouch: true,
}
export const desktop = {
  userAgent: 'Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0',
  viewport: { width: 1024, height: 768 },
}

/** Starts the shop, which prints its addresses when it is open. */
export async function openShop() {
  const child = spawn(`${TARGET}/debug/qsessions-demo-web`, {
    env: { ...process.env, PORT: '0' },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const exited = once(child, 'exit')
  const shop = { child, exited }
  const lines = []
  for await (const line of readline.createInterface({ input: child.stdout })) {
    lines.push(line)
    shop.address ??= line.match(/^ {2}The shop +(http:\S+[^/])\//)?.[1]
    shop.folder ??= line.match(/^ {2}The database .* -h (\S+) /)?.[1]
    if (line.startsWith('Press Ctrl-C')) break
  }
  assert(shop.address && shop.folder, `the shop has not opened:\n${lines.join('\n')}`)
  const options = { host: shop.folder, user: 'postgres', database: 'shop' }
  shop.database = new pg.Pool(options)
  // The server closes idle connections when it stops.
  shop.database.on('error', () => {})
  return shop
}

export async function closeShop(shop) {
  await shop.database.end()
  shop.child.kill('SIGTERM')
  const [code] = await shop.exited
  assert.equal(code, 0, 'the shop has not ended well')
}

export async function openBrowser() {
  return chromium.launch({ executablePath: process.env.QSESSIONS_CHROMIUM ?? '/usr/bin/chromium' })
}

/** Someone with a browser of their own. */
export class Visitor {
  constructor(context, page) {
    this.context = context
    this.page = page
  }

  /** The value of the cookie of the session. */
  async cookie() {
    const cookies = await this.context.cookies()
    return cookies.find((cookie) => cookie.name === 'session')?.value
  }

  /** Signs in from the page that is open, which leads to the page that was asked for before. */
  async fillIn(name) {
    await this.page.getByLabel('Name').fill(name)
    await this.page.getByLabel('Password').fill(PASSWORD)
    await this.page.getByRole('main').getByRole('button', { name: 'Sign in' }).click()
  }

  async signIn(name) {
    await this.page.goto('/sign-in')
    await this.fillIn(name)
    await this.page.getByText(`Signed in as ${name}`).waitFor()
  }

  async devices() {
    await this.page.goto('/devices')
    await this.heading('Your devices')
  }

  /** Waits until the page has this heading. */
  async heading(name) {
    await this.page.getByRole('heading', { level: 1, name }).waitFor()
  }

  /** The entry of a device on the page of devices. */
  device(section, name) {
    const region = this.page.getByRole('region', { name: section })
    return region.getByRole('listitem').filter({ hasText: name })
  }
}

const world = {}

/** Opens the shop and the browser of all tests. */
export async function begin() {
  try {
    world.shop = await openShop()
    world.browser = await openBrowser()
  } catch (error) {
    world.failure = error
  }
  return world
}

/** Throws why there is no shop or no browser. */
export function check() {
  if (world.failure) throw world.failure
}

export async function end() {
  await world.browser?.close()
  if (world.shop) await closeShop(world.shop)
}

/**
 * A test whose function gets `visit`, which opens a browser without cookies, and the database. If it
 * fails, pictures of the pages are in target/browser.
 */
export function browserTest(name, body) {
  test(name, { timeout: 120_000 }, async () => {
    assert(world.browser, 'there is no shop or no browser: see the test that opens them')
    const contexts = []
    const visit = async (device, options = {}) => {
      const context = await world.browser.newContext({
        baseURL: world.shop.address,
        ...device,
        ...options,
      })
      context.setDefaultTimeout(30_000)
      contexts.push(context)
      return new Visitor(context, await context.newPage())
    }
    try {
      await body({ visit, database: world.shop.database })
    } catch (error) {
      error.stack += `\n${await pictures(name, contexts)}`
      throw error
    } finally {
      await Promise.all(contexts.map((context) => context.close()))
    }
  })
}

async function pictures(name, contexts) {
  const folder = `${TARGET}/browser`
  mkdirSync(folder, { recursive: true })
  const taken = []
  for (const page of contexts.flatMap((context) => context.pages())) {
    const path = `${folder}/${name.replace(/[^a-z0-9]+/gi, '-')}-${taken.length + 1}.png`
    try {
      await page.screenshot({ path, fullPage: true, timeout: 5_000 })
      taken.push(`${page.url()}: ${path}`)
    } catch (error) {
      taken.push(`${page.url()}: no picture, ${error.message}`)
    }
  }
  return taken.join('\n')
}

/** Waits until a query returns true. */
export async function until(database, sql, values = []) {
  const deadline = Date.now() + 30_000
  for (;;) {
    const { rows } = await database.query(sql, values)
    if (Object.values(rows[0])[0] === true) return
    assert(Date.now() < deadline, `this has not become true: ${sql}`)
  }
}
