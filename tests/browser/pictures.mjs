// Takes the pictures of the documentation: node pictures.mjs FOLDER

import process from 'node:process'

import { Visitor, begin, check, end, laptop, phone } from './shop.mjs'

const [folder] = process.argv.slice(2)

try {
  const { shop, browser } = await begin()
  check()
  const visit = async (device, name) => {
    const context = await browser.newContext({ baseURL: shop.address, ...device })
    const visitor = new Visitor(context, await context.newPage())
    await visitor.signIn(name)
    return visitor
  }
  const take = async (device, page, name, height) => {
    await page.setViewportSize({ width: device.viewport.width, height })
    await page.screenshot({ path: `${folder}/${name}.png` })
  }
  for (const [width, device] of Object.entries({ desktop: { ...laptop, viewport: { width: 960, height: 800 } }, phone })) {
    const user = await visit(device, 'Ada')
    await user.devices()
    await take(device, user.page, `devices-${width}`, width === 'phone' ? 844 : 820)
    const administrator = await visit(device, 'Robin')
    await administrator.page.goto('/console?range=week')
    await administrator.page.getByText('Live.').waitFor()
    await take(device, administrator.page, `console-${width}`, width === 'phone' ? 844 : 1000)
  }
} finally {
  await end()
}
