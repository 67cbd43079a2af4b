// Sessions in Django's admin.

import assert from 'node:assert/strict'

import { browserTest, laptop, phone } from './site.mjs'

const rows = (page) => page.locator('#result_list tbody tr')

async function openAdmin(visitor) {
  await visitor.page.goto('/accounts/login/?next=/admin/')
  await visitor.fillIn('robin')
  await visitor.page.getByRole('link', { name: 'Sessions', exact: true }).last().click()
  await visitor.heading('Select session to view')
}

browserTest('an administrator finds a session, looks at it, and ends it', async (visit) => {
  const [administrator, user] = [await visit(laptop), await visit(phone)]
  const { page } = administrator
  await user.signIn('eve')
  await openAdmin(administrator)
  await page.locator('#searchbar').fill('eve@example.com')
  await page.getByRole('button', { name: 'Search' }).click()
  await page.waitForURL(/q=eve/)
  const found = rows(page).filter({ hasText: 'Safari 18.6' }).filter({ hasText: '127.0.0.1' })
  await found.waitFor()
  assert.equal(await found.getByRole('link', { name: 'eve' }).count(), 1)

  await found.getByRole('link', { name: /iPhone/ }).click()
  await page.getByText('_auth_user_id').waitFor()
  const cookie = (await user.context.cookies()).find(({ name }) => name === 'sessionid').value
  assert(!(await page.content()).includes(cookie), 'the page contains the key')
  await page.goBack()

  await found.locator('input.action-select').check()
  await page.getByLabel('Action:').selectOption({ label: 'End the selected sessions' })
  await page.getByRole('button', { name: /^(Go|Run)/ }).click()
  await page.getByText('1 session was ended.').waitFor()
  assert.equal(await found.count(), 0)
  await user.page.reload()
  await user.heading('Sign in')
})

browserTest('filters and networks', async (visit) => {
  const administrator = await visit(laptop)
  const { page } = administrator
  await openAdmin(administrator)
  await page.getByRole('link', { name: 'My own' }).click()
  await page.getByRole('link', { name: 'Active', exact: true }).click()
  await page.waitForURL(/active=1/)
  for (const row of await rows(page).all()) assert.match(await row.innerText(), /robin/)
  await page.goto('/admin/qsessions_django/session/?q=195.113.0.0/16')
  assert.equal(await rows(page).count(), 1)
  assert.match(await rows(page).innerText(), /Edge 126/)
})

browserTest('the session of the administrator is kept', async (visit) => {
  const administrator = await visit(laptop)
  const { page } = administrator
  await openAdmin(administrator)
  await page.getByRole('link', { name: 'My own' }).click()
  await page.locator('#action-toggle').check()
  await page.getByLabel('Action:').selectOption({ label: 'End the selected sessions' })
  await page.getByRole('button', { name: /^(Go|Run)/ }).click()
  await page.getByText('Your own session was kept.').waitFor()
  assert.equal(await rows(page).count(), 1)
})
