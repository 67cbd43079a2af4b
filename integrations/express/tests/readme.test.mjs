// The application in the README, as it stands there.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import path from 'node:path'
import process from 'node:process'
import test from 'node:test'

import { Visitor, openDatabase, packages } from './support.mjs'

const database = await openDatabase('store_readme')
const readme = readFileSync(path.join(packages, 'qsessions-express/README.md'), 'utf8')

/** A port that was free a moment ago. */
async function freePort() {
  const server = net.createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address()
  server.close()
  await once(server, 'close')
  return port
}

/** Starts the application, and waits until it answers. */
async function start(folder) {
  const [, program] = readme.match(/```js\n(const express[^]*?)```/)
  const express = `require('${process.env.QSESSIONS_EXPRESS}')`
  writeFileSync(path.join(folder, 'app.js'), program.replace("require('express')", express))
  const port = await freePort()
  const url = `postgres://express_readme@localhost/${database.name}?host=${encodeURIComponent(process.env.PGHOST)}`
  const child = spawn(process.execPath, ['app.js'], {
    cwd: folder,
    env: { ...process.env, PORT: port, DATABASE_URL: url, SESSION_SECRET: 'of the tests', PGUSER: '' },
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  const address = `http://127.0.0.1:${port}`
  await answers(child, address)
  return { child, address }
}

/** Waits until the application answers. */
async function answers(child, address) {
  for (;;) {
    assert.equal(child.exitCode, null, 'the application has ended')
    if (await fetch(address).then(({ ok }) => ok, () => false)) return
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

async function post(visitor, address, body = '') {
  const headers = { 'Content-Type': 'application/x-www-form-urlencoded', 'User-Agent': 'curl/8.5.0' }
  if (visitor.cookie) headers.Cookie = visitor.cookie
  const response = await fetch(address, { method: 'POST', headers, body, redirect: 'manual' })
  for (const line of response.headers.getSetCookie()) visitor.cookie = line.split('; ')[0]
  return response
}

test('the application in the README works, with the role of the README', async () => {
  await database.rows('CREATE ROLE express_readme LOGIN')
  await database.rows("SELECT qsessions.grant_access('express_readme')")
  const folder = mkdtempSync(path.join(packages, '..', 'readme-'))
  const { child, address } = await start(folder)
  try {
    const [visitor, other] = [new Visitor(address), new Visitor(address)]
    await visitor.get('/')
    assert.deepEqual(await visitor.get('/'), { user: null, visits: 2 })
    assert.equal((await post(visitor, `${address}/sign-in`, 'user=1')).status, 302)
    await post(other, `${address}/sign-in`, 'user=1')
    assert.deepEqual(await visitor.get('/'), { user: '1', visits: 3 })
    const devices = await visitor.get('/devices')
    assert.deepEqual(devices.map(({ isCurrent }) => isCurrent), [true, false])
    const ended = await post(visitor, `${address}/devices/${devices[1].id}/sign-out`)
    assert.deepEqual(await ended.json(), { ended: true })
    assert.deepEqual(await other.get('/devices'), [])
    // A restart of the server ends its connections, and must not end the application.
    await database.rows(
      "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = current_database() AND usename = 'express_readme'")
    await answers(child, address)
    assert.equal((await visitor.get('/')).user, '1')
    await post(visitor, `${address}/sign-out`)
    assert.deepEqual(await visitor.get('/'), { user: null, visits: 1 })
  } finally {
    child.kill()
    await once(child, 'exit')
    rmSync(folder, { recursive: true })
  }
})

test('the table of options lists those of the types', () => {
  const types = readFileSync(path.join(packages, 'qsessions-express/index.d.ts'), 'utf8')
  const [declared] = types.match(/interface QsessionsStoreOptions \{[^]*?\n\}/)
  const names = [...declared.matchAll(/^ {2}(\w+)\?:/gm)].map(([, name]) => name).filter((name) => name !== 'schemaName')
  const [table] = readme.match(/## Options\n[^]*?\n## /)
  const listed = [...table.matchAll(/^\| (`\w+`(?:, `\w+`)*) \|/gm)]
    .flatMap(([, cell]) => cell.split(', ').map((name) => name.slice(1, -1)))
  assert.deepEqual(listed.sort(), names.sort())
})
