// HikariPool.java: HikariCP over pgjdbc. Standard input and output as docs/BENCHMARKS.md says, under "pool".
//
//   query  getConnection, prepareStatement (pgjdbc keeps it prepared on the server), executeQuery, close
//   bare   getConnection, close

import com.sun.management.OperatingSystemMXBean;
import com.zaxxer.hikari.HikariConfig;
import com.zaxxer.hikari.HikariDataSource;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.lang.management.ManagementFactory;
import java.sql.Connection;
import java.sql.SQLException;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.concurrent.CountDownLatch;

public class HikariPool {
    static final double WARM_UP_SECONDS = 1.0;

    /** Latencies: exact below STEPS ns, in STEPS steps per doubling above. The same as in coprocess.h. */
    static class Histogram {
        static final int STEPS = 128;
        final long[] buckets = new long[35 * STEPS];
        long count;

        void record(long ns) {
            int bucket = (int) ns;
            if (ns >= STEPS) {
                int shift = 63 - Long.numberOfLeadingZeros(ns) - 7;
                bucket = Math.min((shift + 1) * STEPS + (int) ((ns >> shift) - STEPS), buckets.length - 1);
            }
            buckets[bucket]++;
            count++;
        }

        void merge(Histogram other) {
            count += other.count;
            for (int i = 0; i < buckets.length; i++) buckets[i] += other.buckets[i];
        }

        double quantileMicroseconds(double quantile) {
            long before = (long) (count * quantile);
            int i = 0;
            for (; i < buckets.length - 1 && before >= buckets[i]; i++) before -= buckets[i];
            if (i < STEPS) return i / 1e3;
            int shift = i / STEPS - 1;
            long low = (long) (i % STEPS + STEPS) << shift;
            return (low + ((1L << shift) - 1) / 2.0) / 1e3;
        }
    }

    /** One thread that uses the pool until the deadline. */
    static class Caller extends Thread {
        final HikariDataSource pool;
        final boolean querying;
        final Histogram latencies = new Histogram();
        final CountDownLatch ready, go;
        volatile long deadline;
        volatile SQLException failure;

        Caller(HikariDataSource pool, boolean querying, CountDownLatch ready, CountDownLatch go) {
            this.pool = pool;
            this.querying = querying;
            this.ready = ready;
            this.go = go;
        }

        @Override public void run() {
            try {
                ready.countDown();
                go.await();
                long last = System.nanoTime(), deadline = this.deadline;
                while (last - deadline < 0) {
                    try (Connection connection = pool.getConnection()) {
                        if (querying) selectOne(connection);
                    }
                    long now = System.nanoTime();
                    latencies.record(now - last);
                    last = now;
                }
            } catch (SQLException error) {
                failure = error;
            } catch (InterruptedException error) {
                throw new IllegalStateException(error);
            }
        }
    }

    static void selectOne(Connection connection) throws SQLException {
        try (var statement = connection.prepareStatement("SELECT 1"); var rows = statement.executeQuery()) {
            rows.next();
        }
    }

    /** All connections open, the statement prepared on each. */
    static HikariDataSource open(int size) throws SQLException {
        var configuration = new HikariConfig();
        // prepareThreshold: prepared at the first use, not at the fifth.
        configuration.setJdbcUrl(String.format("jdbc:postgresql://%s:%s/%s?prepareThreshold=1",
            System.getenv("PGHOST"), System.getenv("PGPORT"), System.getenv("PGDATABASE")));
        configuration.setUsername(System.getenv("PGUSER"));
        configuration.setMaximumPoolSize(size);
        configuration.setMinimumIdle(size);
        var pool = new HikariDataSource(configuration);
        List<Connection> all = new ArrayList<>();
        for (int i = 0; i < size; i++) all.add(pool.getConnection());
        for (Connection connection : all) {
            for (int i = 0; i < 3; i++) selectOne(connection);
            connection.close();
        }
        return pool;
    }

    static String measure(HikariDataSource pool, String mode, int count, double seconds) throws Exception {
        var ready = new CountDownLatch(count);
        var go = new CountDownLatch(1);
        List<Caller> callers = new ArrayList<>();
        for (int i = 0; i < count; i++) callers.add(new Caller(pool, mode.equals("query"), ready, go));
        for (Caller caller : callers) caller.start();
        ready.await();
        var system = (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
        long cpu = system.getProcessCpuTime(), start = System.nanoTime();
        for (Caller caller : callers) caller.deadline = start + (long) (seconds * 1e9);
        go.countDown();
        for (Caller caller : callers) caller.join();
        double elapsed = (System.nanoTime() - start) / 1e9, used = (system.getProcessCpuTime() - cpu) / 1e3;

        var latencies = new Histogram();
        for (Caller caller : callers) {
            if (caller.failure != null) throw caller.failure;
            latencies.merge(caller.latencies);
        }
        return String.format(Locale.ROOT, "{\"ops_s\":%.1f,\"p50_us\":%.3f,\"p99_us\":%.3f,\"cpu_us_op\":%.4f}", latencies.count / elapsed,
            latencies.quantileMicroseconds(0.5), latencies.quantileMicroseconds(0.99), used / latencies.count);
    }

    static String error(String text) {
        return "{\"error\":\"" + text.replaceAll("[\"\\\\]", "'").replaceAll("\\p{Cntrl}", " ") + "\"}";
    }

    public static void main(String[] arguments) throws Exception {
        var input = new BufferedReader(new InputStreamReader(System.in));
        HikariDataSource pool = null;
        Set<String> warm = new HashSet<>();
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            String[] words = line.trim().split(" +");
            String mode = words[0], answer;
            int size = Integer.parseInt(words[1]), callers = Integer.parseInt(words[2]);
            double seconds = Double.parseDouble(words[3]);
            try {
                if (!Set.of("query", "bare").contains(mode)) throw new IllegalArgumentException("hikari has no mode " + mode);
                if (pool == null || pool.getMaximumPoolSize() != size) {
                    if (pool != null) pool.close();
                    pool = null;
                    pool = open(size);
                }
                if (warm.add(mode + " " + callers)) measure(pool, mode, callers, WARM_UP_SECONDS);
                answer = measure(pool, mode, callers, seconds);
            } catch (Exception failure) {
                answer = error(failure.toString());
            }
            System.out.println(answer);
            System.out.flush();
        }
        if (pool != null) pool.close();
    }
}
