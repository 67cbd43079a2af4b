// Keys, and changes that are made at the same time.

import assert from 'node:assert/strict'

import { browserTest, laptop, phone, until } from './shop.mjs'

const cart = (visitor) => visitor.page.getByRole('region', { name: 'Your cart' })

browserTest('a cookie from before the sign-in is worthless after it', async ({ visit }) => {
  const visitor = await visit(laptop)
  await visitor.page.goto('/')
  assert.equal(await visitor.cookie(), undefined)
  await visitor.page.getByRole('button', { name: /Add to cart ?: Notebook/ }).click()
  await cart(visitor).getByText('1 × Notebook').waitFor()
  const before = await visitor.cookie()
  assert(before)

  await visitor.signIn('Mateo')
  await cart(visitor).getByText('1 × Notebook').waitFor()
  const after = await visitor.cookie()
  assert.notEqual(after, before)

  const thief = await visit(phone)
  const [{ domain }] = (await visitor.context.cookies()).filter(({ name }) => name === 'session')
  const steal = (value) => thief.context.addCookies([{ name: 'session', value, domain, path: '/' }])
  await steal(before)
  await thief.page.goto('/')
  await cart(thief).getByText('It is empty.').waitFor()
  await thief.page.getByRole('link', { name: 'Sign in' }).waitFor()
  await thief.page.goto('/devices')
  await thief.heading('Sign in')
  // The same with the new cookie shows that the test can tell.
  await steal(after)
  await thief.devices()
})

browserTest('a cookie from before the sign-out is worthless after it', async ({ visit }) => {
  const visitor = await visit(laptop)
  await visitor.signIn('Mateo')
  const cookies = await visitor.context.cookies()
  await visitor.page.getByRole('button', { name: 'Sign out' }).click()
  await visitor.page.getByRole('link', { name: 'Sign in' }).waitFor()
  assert.equal(await visitor.cookie(), undefined)
  await visitor.context.addCookies(cookies)
  await visitor.page.goto('/devices')
  await visitor.heading('Sign in')
})

browserTest('scripts cannot read the cookie', async ({ visit }) => {
  const visitor = await visit(laptop)
  await visitor.signIn('Mateo')
  assert(await visitor.cookie())
  assert.equal(await visitor.page.evaluate('document.cookie'), '')
})

browserTest('two tabs that save at the same time keep both changes', async ({ visit, database }) => {
  const visitor = await visit(laptop)
  await visitor.signIn('Thandi')
  const second = await visitor.context.newPage()
  await second.goto('/')
  const key = await visitor.cookie()

  // Both requests have read the session and wait for the row, so neither has seen the other's change.
  const lock = await database.connect()
  try {
    await lock.query('BEGIN')
    const { rowCount } = await lock.query(
      'SELECT FROM qsessions.session WHERE digest = sha256($1::bytea) FOR UPDATE',
      [key],
    )
    assert.equal(rowCount, 1)
    const add = (page, product) => page.getByRole('button', { name: new RegExp(`Add to cart ?: ${product}`) }).click()
    const clicks = [add(visitor.page, 'Reading lamp'), add(second, 'Fountain pen')]
    await until(
      database,
      "SELECT count(*) = 2 FROM pg_stat_activity WHERE usename = 'shop' AND wait_event_type = 'Lock'",
    )
    await lock.query('COMMIT')
    await Promise.all(clicks)
  } finally {
    lock.release(true)
  }
  for (const product of ['Reading lamp', 'Fountain pen']) {
    await visitor.page.goto('/')
    await cart(visitor).getByText(`1 × ${product}`).waitFor()
  }
})

browserTest('a change to a session that ends meanwhile leads to the sign-in', async ({ visit, database }) => {
  const visitor = await visit(laptop)
  await visitor.signIn('Thandi')
  const lock = await database.connect()
  try {
    await lock.query('BEGIN')
    const { rowCount } = await lock.query('DELETE FROM qsessions.session WHERE digest = sha256($1::bytea)', [
      await visitor.cookie(),
    ])
    assert.equal(rowCount, 1)
    const click = visitor.page.getByRole('button', { name: /Add to cart ?: Notebook/ }).click()
    await until(
      database,
      "SELECT count(*) = 1 FROM pg_stat_activity WHERE usename = 'shop' AND wait_event_type = 'Lock'",
    )
    await lock.query('COMMIT')
    await click
  } finally {
    lock.release(true)
  }
  await visitor.heading('Sign in')
})
