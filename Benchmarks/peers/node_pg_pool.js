// node_pg_pool.js: the pool of node-pg, one thread and an event loop. Standard input and output as docs/BENCHMARKS.md says, under "pool".
// Finds its server in PGHOST, PGPORT, PGUSER and PGDATABASE by itself.
//
//   query  pool.connect, a named (so: prepared) query, release
//   bare   pool.connect, release
'use strict'

const { Pool } = require('pg')
const readline = require('readline')
const { performance } = require('perf_hooks')

const WARM_UP_SECONDS = 1
const MODES = ['query', 'bare']
const one = { name: 'one', text: 'SELECT 1' }

// All connections open, the statement prepared on each; idle ones are never closed.
async function open(size) {
  const pool = new Pool({ max: size, idleTimeoutMillis: 0 })
  // Without listeners a connection that breaks would end the program; with them the next query on it fails, and that is told.
  pool.on('error', () => {})
  pool.on('connect', client => client.on('error', () => {}))
  const clients = await Promise.all(Array.from({ length: size }, () => pool.connect()))
  for (const client of clients) {
    await client.query(one)
    client.release()
  }
  return pool
}

async function measure(pool, mode, callers, seconds) {
  const latencies = []
  const querying = mode === 'query'
  const cpu = process.cpuUsage()
  const start = performance.now()
  const deadline = start + seconds * 1000
  const call = async () => {
    let last = performance.now()
    while (last < deadline) {
      const client = await pool.connect()
      try {
        if (querying) await client.query(one)
      } finally {
        client.release()
      }
      const now = performance.now()
      latencies.push(now - last)
      last = now
    }
  }
  // All of them have ended before a failure is told, so none is left over to disturb the next measurement.
  const ends = await Promise.allSettled(Array.from({ length: callers }, call))
  const failed = ends.find(end => end.status === 'rejected')
  if (failed) throw failed.reason
  const elapsed = (performance.now() - start) / 1000
  const used = process.cpuUsage(cpu)

  const sorted = Float64Array.from(latencies).sort()
  const microseconds = quantile => sorted[Math.floor(sorted.length * quantile)] * 1000
  return {
    ops_s: sorted.length / elapsed,
    p50_us: microseconds(0.5),
    p99_us: microseconds(0.99),
    cpu_us_op: (used.user + used.system) / sorted.length
  }
}

async function main() {
  const warm = new Set()
  let pool = null
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const [mode, ...numbers] = line.trim().split(/ +/)
    const [size, callers, seconds] = numbers.map(Number)
    let answer
    try {
      if (!MODES.includes(mode)) throw new Error(`node-pg has no mode ${mode}`)
      if (pool && pool.options.max !== size) {
        await pool.end()
        pool = null
      }
      pool = pool || await open(size)
      if (!warm.has(`${mode} ${callers}`)) await measure(pool, mode, callers, WARM_UP_SECONDS)
      warm.add(`${mode} ${callers}`)
      answer = await measure(pool, mode, callers, seconds)
    } catch (error) {
      answer = { error: String(error) }
    }
    process.stdout.write(JSON.stringify(answer) + '\n')
  }
  if (pool) await pool.end()
}

main()
