// The site of account/serve.py with its database, and browsers that visit it.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import process from 'node:process'
import readline from 'node:readline'
import test from 'node:test'

// `import` ignores NODE_PATH.
const require = createRequire(import.meta.url)
const { chromium } = require('playwright-core')
export const axe = require('axe-core')

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

const world = {}

/** Starts the site, with the Python of QSESSIONS_DJANGO_PYTHON, and a browser. */
export async function begin() {
  try {
    const child = spawn(process.env.QSESSIONS_DJANGO_PYTHON, ['-m', 'account.serve'], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    world.site = { child, exited: once(child, 'exit') }
    const lines = readline.createInterface({ input: child.stdout })
    const { value } = await lines[Symbol.asyncIterator]().next()
    assert(value, 'the site has not opened')
    world.site.address = value
    world.browser = await chromium.launch({ executablePath: process.env.QSESSIONS_CHROMIUM ?? '/usr/bin/chromium' })
  } catch (error) {
    world.failure = error
  }
  return world
}

/** Throws why there is no site or no browser. */
export function check() {
  if (world.failure) throw world.failure
}

export async function end() {
  await world.browser?.close()
  world.site?.child.stdin.end()
  await world.site?.exited
}

/** Someone with a browser of their own. */
export class Visitor {
  constructor(context, page) {
    this.context = context
    this.page = page
    this.complaints = []
    page.on('console', (message) => {
      // The browser tells of what the Content-Security-Policy has refused.
      if (message.type() === 'error') this.complaints.push(message.text())
    })
    page.on('pageerror', (error) => this.complaints.push(String(error)))
  }

  async fillIn(name) {
    await this.page.getByLabel('Username').fill(name)
    await this.page.getByLabel('Password').fill('secret')
    await this.page.getByRole('button', { name: 'Sign in' }).click()
  }

  async signIn(name) {
    await this.page.goto('/accounts/login/')
    await this.fillIn(name)
    await this.heading('Your devices')
  }

  /** Waits until the page has this heading. */
  async heading(name) {
    await this.page.getByRole('heading', { level: 1, name }).waitFor()
  }

  /** The entry of a device. */
  device(section, name) {
    const region = this.page.getByRole('region', { name: section })
    return region.getByRole('listitem').filter({ hasText: name })
  }
}

/** Opens a browser without cookies. */
export async function visit(device, options = {}) {
  const context = await world.browser.newContext({ baseURL: world.site.address, ...device, ...options })
  context.setDefaultTimeout(30_000)
  return new Visitor(context, await context.newPage())
}

/** A test whose function gets `visit`. The browser must have complained of nothing in the end. */
export function browserTest(name, body) {
  test(name, { timeout: 120_000 }, async () => {
    assert(world.browser, 'there is no site or no browser: see the test that opens them')
    const visitors = []
    try {
      await body(async (...what) => {
        const visitor = await visit(...what)
        visitors.push(visitor)
        return visitor
      })
      assert.deepEqual(visitors.flatMap(({ complaints }) => complaints), [])
    } finally {
      await Promise.all(visitors.map(({ context }) => context.close()))
    }
  })
}
