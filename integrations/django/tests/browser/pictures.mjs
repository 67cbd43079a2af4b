// Takes the pictures of the documentation: node pictures.mjs FOLDER

import process from 'node:process'

import { begin, check, end, laptop, visit } from './site.mjs'

const [folder] = process.argv.slice(2)

try {
  await begin()
  check()
  const take = async (page, name, width, height) => {
    await page.setViewportSize({ width, height })
    await page.evaluate(() => window.scrollTo(0, 0))
    await page.screenshot({ path: `${folder}/${name}.png` })
  }
  const from = { ...laptop, extraHTTPHeaders: { 'X-Forwarded-For': '131.111.150.25' } }
  const user = await visit(from)
  await user.signIn('ada')
  await take(user.page, 'django-devices', 960, 860)
  const administrator = await visit(from)
  await administrator.page.goto('/accounts/login/?next=/admin/qsessions_django/session/')
  await administrator.fillIn('robin')
  await administrator.heading('Select session to view')
  await administrator.page.locator('#toggle-nav-sidebar').click()
  await take(administrator.page, 'django-admin', 1560, 620)
  await administrator.page.getByRole('link', { name: /Samsung|Galaxy/ }).first().click()
  await administrator.page.getByText('browser_version').waitFor()
  await take(administrator.page, 'django-session', 1280, 1000)
} finally {
  await end()
}
