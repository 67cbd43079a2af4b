// The console, which is mounted in the shop.

import assert from 'node:assert/strict'

import { browserTest, laptop, phone } from './shop.mjs'

const count = async (database, condition) => {
  const { rows } = await database.query(`SELECT count(*)::integer AS n FROM qsessions.session WHERE ${condition}`)
  return rows[0].n
}

browserTest('the console is for administrators only', async ({ visit }) => {
  const user = await visit(laptop)
  await user.page.goto('/console')
  await user.heading('Sign in')
  await user.fillIn('Ada')
  await user.heading('Only for administrators')
  for (const path of ['/console/sessions', '/console/health', '/console/live']) {
    assert.equal((await user.page.request.get(path)).status(), 403, path)
  }

  const administrator = await visit(laptop)
  await administrator.page.goto('/console/sessions')
  await administrator.heading('Sign in')
  await administrator.fillIn('Robin')
  await administrator.heading('Sessions')
})

browserTest('the overview counts up while it is open', async ({ visit }) => {
  const administrator = await visit(laptop)
  await administrator.signIn('Robin')
  await administrator.page.getByRole('link', { name: 'Console' }).click()
  await administrator.heading('Overview')
  const logins = administrator.page.locator('[data-live="counters.logins"]')
  await administrator.page.getByText('Live.').waitFor()
  const before = Number((await logins.innerText()).replaceAll(',', ''))
  const user = await visit(phone)
  await user.signIn('Ada')
  await logins.getByText((before + 1).toLocaleString('en-US'), { exact: true }).waitFor()
})

browserTest('a search in the console finds sessions, and ends them all', async ({ visit, database }) => {
  const [administrator, user] = [await visit(laptop), await visit(phone)]
  await user.signIn('Ada')
  const others = await count(database, "user_id <> 1 AND user_agent NOT LIKE '%iPhone%'")
  const found = await count(database, "user_id = 1 AND user_agent LIKE '%iPhone%' AND expires_at > now()")
  assert(found > 1)

  await administrator.signIn('Robin')
  await administrator.page.goto('/console/sessions')
  await administrator.page.getByLabel('User').fill('1')
  await administrator.page.getByLabel('Device').fill('iphone')
  await administrator.page.getByLabel('State').selectOption('active')
  await administrator.page.getByRole('button', { name: 'Search' }).click()
  await administrator.page.getByText(`${found} on this page`).waitFor()
  assert.equal(await administrator.page.locator('tbody tr').count(), found)

  await administrator.page.getByRole('link', { name: 'End all of these' }).click()
  await administrator.page.getByText(`This ends ${found} sessions`).waitFor()
  // The page with the count has ended nothing.
  assert.equal(await count(database, "user_id = 1 AND user_agent LIKE '%iPhone%'"), found)
  await administrator.page.getByRole('button', { name: `End ${found} sessions` }).click()
  await administrator.page.getByRole('link', { name: 'To the sessions' }).waitFor()

  assert.equal(await count(database, "user_id = 1 AND user_agent LIKE '%iPhone%'"), 0)
  assert.equal(await count(database, "user_id <> 1 AND user_agent NOT LIKE '%iPhone%'"), others + 1)
  await user.page.getByRole('link', { name: 'Your devices' }).click()
  await user.heading('Sign in')
})

browserTest('bad input in the search is explained, and kept', async ({ visit }) => {
  const administrator = await visit(laptop)
  await administrator.signIn('Robin')
  await administrator.page.goto('/console/sessions')
  await administrator.page.getByLabel('Network').fill('192.0.2.')
  await administrator.page.getByRole('button', { name: 'Search' }).click()
  await administrator.page.getByRole('alert').waitFor()
  assert.equal(await administrator.page.getByLabel('Network').inputValue(), '192.0.2.')
})
