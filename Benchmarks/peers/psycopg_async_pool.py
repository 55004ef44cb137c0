"""The asynchronous pool of psycopg 3. Standard input and output as docs/BENCHMARKS.md says, under "pool".

Finds its server in PGHOST, PGPORT, PGUSER and PGDATABASE by itself. The name of this file is not psycopg_pool, which is the
name of the module it imports.

  query  acquire, a prepared execute, fetch, release
  bare   acquire, release
"""
import asyncio
import contextlib
import json
import sys
import time

from psycopg_pool import AsyncConnectionPool

MODES = ("query", "bare")


async def select_one(connection):
    cursor = await connection.execute("SELECT 1", prepare=True)
    await cursor.fetchone()


async def opened(size):
    """A pool with all connections open, the statement prepared on each."""
    pool = AsyncConnectionPool("", min_size=size, max_size=size, kwargs={"autocommit": True}, timeout=30, open=False)
    await pool.open(wait=True)
    async with contextlib.AsyncExitStack() as all_of_them:
        for _ in range(size):
            await select_one(await all_of_them.enter_async_context(pool.connection()))
    return pool


async def measure(pool, mode, callers, seconds):
    latencies = []
    clock = time.perf_counter
    # An acquire that finds an idle connection does not suspend, so without this the first caller would be the only one.
    yields = mode == "bare" and callers > 1

    async def call():
        last = clock()
        while last < deadline:
            async with pool.connection() as connection:
                if mode == "query":
                    await select_one(connection)
                elif yields:
                    await asyncio.sleep(0)
            now = clock()
            latencies.append(now - last)
            last = now

    cpu, start = time.process_time(), clock()
    deadline = start + seconds
    async with asyncio.TaskGroup() as group:
        for _ in range(callers):
            group.create_task(call())
    elapsed, cpu = clock() - start, time.process_time() - cpu
    latencies.sort()
    return {"ops_s": len(latencies) / elapsed, "p50_us": latencies[len(latencies) // 2] * 1e6,
            "p99_us": latencies[int(len(latencies) * 0.99)] * 1e6, "cpu_us_op": cpu / len(latencies) * 1e6}


async def main():
    pool, pool_size = None, 0
    while line := await asyncio.to_thread(sys.stdin.readline):
        mode, size, callers, seconds = line.split()
        try:
            if mode not in MODES:
                raise ValueError(f"psycopg has no mode {mode}")
            if pool_size != int(size):
                if pool:
                    await pool.close()
                pool, pool_size = None, 0
                pool, pool_size = await opened(int(size)), int(size)
            answer = await measure(pool, mode, int(callers), float(seconds))
        except Exception as error:
            error = error.exceptions[0] if isinstance(error, ExceptionGroup) else error
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)
    if pool:
        await pool.close()


asyncio.run(main())
