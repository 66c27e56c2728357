// What ../README.md lists, with node-postgres. DATABASE_URL says where; POOLED=1: through a pooler.

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import pg from 'pg'

const POOLED = process.env.POOLED === '1'
const TEXT = 'It\'s "quoted", \\ slashed,\nin two lines, with ünïcode and 🃏'
const NAMES = ['a,b', '"quoted"', '{braced}', 'back\\slash', 'NULL', 'ünï']
const DOCUMENT = { text: TEXT, list: [1, 2.5, null, true], deep: { empty: {} } }

async function connect() {
  const client = new pg.Client({ connectionString: process.env.DATABASE_URL })
  await client.connect()
  return client
}

async function one(client, query, values) {
  const { rows } = await client.query(query, values)
  assert.equal(rows.length, 1)
  return rows[0]
}

const create = (client, id, more = '', values = []) =>
  one(client, `select * from mosaic.backlog_create('t', id => $1${more})`, [id, ...values])

async function everyArgument(c) {
  await create(c, 'Needed')
  const notBefore = new Date('2020-02-29T23:59:58.123+05:30')
  const given = {
    title: 'Every argument', id: 'Every/1', body: TEXT, phase: 'build', priority: -7,
    depends_on: ['Needed'], labels: NAMES, requires: ['gpu'], acceptance: DOCUMENT,
    idempotency_key: 'key 1', not_before: notBefore, max_attempts: 3, actor: 'planner',
  }
  const names = Object.keys(given).map((name, index) => `${name} => $${index + 1}`)
  const query = `select * from mosaic.backlog_create(${names.join(', ')})`
  const row = await one(c, query, Object.values(given))
  for (const name of ['title', 'id', 'body', 'phase', 'priority', 'depends_on', 'requires', 'acceptance', 'max_attempts']) {
    assert.deepEqual(row[name], given[name], name)
  }
  assert.deepEqual([...row.labels].sort(), [...NAMES].sort())
  assert.equal(row.not_before.getTime(), notBefore.getTime())
  assert.equal(row.status, 'ready')
  assert.equal(row.open_dependencies, 1)
  assert.equal(row.created, true)
  assert.equal((await one(c, query, Object.values(given))).created, false)
}

async function nulls(c) {
  const row = await create(c, 'Null', ', body => $2, acceptance => $3, not_before => $4, max_attempts => $5', [null, null, null, null])
  for (const name of ['body', 'phase', 'acceptance', 'not_before', 'max_attempts', 'claim_token', 'result']) {
    assert.equal(row[name], null, name)
  }
  assert.deepEqual([row.labels, row.depends_on], [[], []])
  assert.deepEqual((await c.query("select id from mosaic.backlog_claim('w', labels => $1)", [['none']])).rows, [])
}

async function claim(c) {
  await create(c, 'Claimed', ', requires => $2', [['gpu', 'ssd']])
  const row = await one(
    c,
    "select * from mosaic.backlog_claim($1, $2, id => 'Claimed', offers => $3)",
    ['w1', '90 seconds', ['ssd', 'gpu', 'net']],
  )
  // A bigint comes as text, since a number of JavaScript may not hold it.
  assert.match(row.claim_token, /^[0-9]+$/)
  assert.equal(row.claim_expires_at - row.claimed_at, 90_000)
  assert.deepEqual(row.dependencies, [])
  return row.claim_token
}

async function renew(c, token) {
  const { until } = await one(c, "select mosaic.backlog_renew('Claimed', $1, $2) as until", [token, '2 hours'])
  const hours = (until - Date.now()) / 3_600_000
  assert.ok(hours > 1.9 && hours < 2.1, `${until}`)
}

async function stale(c, token) {
  await assert.rejects(
    c.query("select from mosaic.backlog_complete('Claimed', $1)", [String(BigInt(token) + 1000n)]),
    (error) => error.code === '55000' && error.detail.startsWith('claim_lost: ') && error.hint.length > 0,
  )
}

async function complete(c, token) {
  await create(c, 'After', ', depends_on => $2', [['Claimed']])
  const query = "select * from mosaic.backlog_complete('Claimed', $1, $2)"
  const row = await one(c, query, [token, DOCUMENT])
  assert.equal(row.status, 'done')
  assert.deepEqual(row.result, DOCUMENT)
  assert.deepEqual(row.unblocked, ['After'])
  assert.equal((await one(c, query, [token, DOCUMENT])).status, 'done')
  const { dependencies } = await one(c, "select dependencies from mosaic.backlog_claim('w', id => 'After')")
  assert.deepEqual(dependencies, [{ id: 'Claimed', title: 't', result: DOCUMENT }])
}

async function events(c) {
  const seen = []
  for (let cursor = null; ;) {
    const { rows } = await c.query(
      "select event_id, kind, detail, cursor from mosaic.backlog_events('Claimed', after => $1, max_events => 2)",
      [cursor],
    )
    if (rows.length === 0) break
    assert.ok(rows.length <= 2 && rows.every((row) => typeof row.detail === 'object'))
    seen.push(...rows)
    cursor = rows.at(-1).cursor
  }
  assert.deepEqual(seen.map((row) => row.kind), ['created', 'claimed', 'renewed', 'completed'])
  assert.equal(new Set(seen.map((row) => row.event_id)).size, 4)
}

async function repeat(c) {
  await create(c, 'Repeated')
  const query = "select id, claim_token from mosaic.backlog_claim('w', id => 'Repeated', request_id => $1)"
  const request = randomUUID()
  assert.deepEqual(await one(c, query, [request]), await one(c, query, [request]))
}

async function transaction(c) {
  await create(c, 'Undone')
  await c.query('begin')
  const { claim_token: token } = await one(c, "select claim_token from mosaic.backlog_claim('w', id => 'Undone')")
  await c.query("select mosaic.backlog_assert_held('Undone', $1)", [token])
  await c.query('rollback')
  assert.equal((await one(c, "select status from mosaic.backlog_get('Undone')")).status, 'ready')
}

async function race(c) {
  // An array of JavaScript would become an array of PostgreSQL: where JSON is wanted, give its text.
  const cards = JSON.stringify(Array(40).fill({ title: 't', labels: ['race'] }))
  await c.query('select from mosaic.backlog_create_many($1)', [cards])
  const work = async (number) => {
    const own = await connect()
    const claimed = []
    for (;;) {
      const { rows } = await own.query('select id from mosaic.backlog_claim($1, labels => $2)', [`w${number}`, ['race']])
      if (rows.length === 0) break
      claimed.push(rows[0].id)
    }
    await own.end()
    return claimed
  }
  const claimed = (await Promise.all([work(0), work(1)])).flat()
  assert.equal(claimed.length, 40)
  assert.equal(new Set(claimed).size, 40)
}

async function prepared(c) {
  for (let number = 0; number < 20; number++) {
    // Without a name, a statement is forgotten right away, as a pooler needs it.
    const name = POOLED ? undefined : 'create'
    const text = "select id, priority from mosaic.backlog_create('t', id => $1, priority => $2)"
    const { rows } = await c.query({ name, text, values: [`P${number}`, number] })
    assert.deepEqual(rows, [{ id: `P${number}`, priority: number }])
  }
}

const c = await connect()
await everyArgument(c)
console.log('arguments')
await nulls(c)
console.log('nulls')
const token = await claim(c)
console.log('claim')
await renew(c, token)
console.log('renew')
await stale(c, token)
console.log('stale')
await complete(c, token)
console.log('complete')
await events(c)
console.log('events')
await repeat(c)
console.log('repeat')
await transaction(c)
console.log('transaction')
await race(c)
console.log('race')
await prepared(c)
console.log('prepared')
await c.end()
