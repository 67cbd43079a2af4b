// A small application, as the README describes it: people sign in, see their devices, sign them out.

import { express, qsessions, session } from './support.mjs'

const page = (title, body) => `<!doctype html><html lang="en"><meta charset="utf-8">
  <meta name="viewport" content="width=device-width"><title>${title}</title><h1>${title}</h1>${body}`
const button = (action, text) => `<form method="post" action="${action}"><button>${text}</button></form>`
const escape = (text) => String(text).replace(/[&<>"']/g, (found) => `&#${found.charCodeAt(0)};`)

function device({ id, device, ip, location, lastSeenAt, isCurrent }) {
  const where = [location, ip].filter(Boolean).map(escape).join(', ')
  const end = isCurrent ? '<strong>this one</strong>' : button(`/devices/${id}`, 'Sign out')
  return `<li>${escape(device ?? 'Unknown')} <small>${where}, ${lastSeenAt.toISOString()}</small> ${end}</li>`
}

export function shop(store) {
  const app = express()
  app.set('trust proxy', 'loopback')
  app.use(qsessions.visitor())
  app.use(session({
    store,
    secret: 'of the tests only',
    genid: qsessions.generateKey,
    resave: false,
    saveUninitialized: false,
    cookie: { maxAge: 30 * 24 * 60 * 60 * 1000, sameSite: 'lax' },
  }))
  app.use(express.urlencoded({ extended: false }))
  const route = (method, path, answer) => app[method](path, (req, res, next) => answer(req, res).catch(next))

  route('get', '/', async (req, res) => {
    const user = qsessions.userId(req)
    const cart = req.session.cart ?? []
    res.send(page('Shop', `<p>${user ? `Signed in as user ${user}` : 'Not signed in'}</p>
      <p>In the cart: ${cart.map(escape).join(', ') || 'nothing'}</p>
      ${button('/cart', 'Add a book')}
      <form method="post" action="/sign-in"><label>User <input name="user"></label><button>Sign in</button></form>
      <a href="/devices">Your devices</a>`))
  })
  route('post', '/cart', async (req, res) => {
    req.session.cart = [...req.session.cart ?? [], 'book']
    // A browser follows a redirect before express-session has saved.
    await new Promise((resolve, reject) => req.session.save((error) => error ? reject(error) : resolve()))
    res.redirect('/')
  })
  route('post', '/sign-in', async (req, res) => {
    await qsessions.login(req, req.body.user)
    res.redirect('/')
  })
  route('get', '/devices', async (req, res) => {
    const devices = await qsessions.devices(req)
    if (devices.length === 0) return res.redirect('/')
    res.send(page('Your devices', `<ul>${devices.map(device).join('')}</ul>
      ${button('/devices', 'Sign out everywhere else')} ${button('/sign-out', 'Sign out here')}`))
  })
  route('post', '/devices/:id', async (req, res) => {
    await qsessions.revoke(req, req.params.id)
    res.redirect('/devices')
  })
  route('post', '/devices', async (req, res) => {
    await qsessions.revokeOthers(req)
    res.redirect('/devices')
  })
  route('post', '/sign-out', async (req, res) => {
    await qsessions.logout(req)
    res.redirect('/')
  })
  return app
}
