// axe-core finds nothing serious on any page, at two widths, light and dark.

import assert from 'node:assert/strict'

import { axe, browserTest, laptop, phone } from './shop.mjs'

const pages = [
  '/',
  '/sign-in',
  '/devices',
  '/console',
  '/console/sessions?user=1',
  '/console/sessions?network=wrong',
  '/console/end?user=1',
  '/console/user?id=2',
  '/console/health',
  'a session',
]

for (const [width, device] of Object.entries({ phone, laptop })) {
  for (const colorScheme of ['light', 'dark']) {
    browserTest(`axe finds nothing serious on a ${width} in ${colorScheme} colors`, async ({ visit, database }) => {
      const visitor = await visit(device, { colorScheme })
      await visitor.signIn('Robin')
      const { rows } = await database.query('SELECT id FROM qsessions.session WHERE user_id = 2 LIMIT 1')
      const problems = []
      for (const page of pages) {
        const path = page === 'a session' ? `/console/session/${rows[0].id}` : page
        problems.push(...(await check(visitor.page, path)))
      }
      assert.deepEqual(problems, [])
    })
  }
}

async function check(page, path) {
  const response = await page.goto(path)
  assert(response.status() < 500, `${path}: status ${response.status()}`)
  await page.evaluate(axe.source)
  const { violations, passes } = await page.evaluate(() => window.axe.run())
  assert(passes.length > 5, `${path}: axe has checked nothing`)
  const serious = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical')
  const problems = serious.flatMap(({ id, help, nodes }) =>
    nodes.map((node) => `${path}: ${id}, ${help}: ${node.html} ${node.any.map(({ message }) => message).join('; ')}`),
  )
  const { scrollWidth, clientWidth } = await page.evaluate(() => {
    const { scrollWidth, clientWidth } = document.documentElement
    return { scrollWidth, clientWidth }
  })
  if (scrollWidth > clientWidth) {
    problems.push(`${path}: the page is ${scrollWidth} wide in a window of ${clientWidth}`)
  }
  return problems
}
