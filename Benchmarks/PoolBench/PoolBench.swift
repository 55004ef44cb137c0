import AppCore
import Glibc
import Logging
import Vitals

/// The pool of AppCore as one of the programs that `scripts/bench pool` measures beside each other.
///
/// Reads lines `MODE POOL CALLERS SECONDS` and answers each with one line of JSON. The server is named by PGHOST, PGPORT, PGUSER and
/// PGDATABASE. Callers prefer the event loop as their executor, as hot work does; BENCH_CALLERS=elsewhere leaves them on the
/// default executor, where a query pays a thread switch.
@main
enum PoolBench {
    static func main() async throws {
        let loop = try EventLoop()
        let onLoop = environment("BENCH_CALLERS") != "elsewhere"
        // A pool ends with its group: one group for each run of lines that ask for the same size.
        var next = Command.next()
        while let first = next {
            next = await serve(first, loop: loop, onLoop: onLoop)
        }
    }

    /// Serves `first` and what follows with the same pool size; answers the first line that needs another pool.
    private static func serve(_ first: Command, loop: EventLoop, onLoop: Bool) async -> Command? {
        var logger = Logger(label: "bench", factory: { StreamLogHandler.standardError(label: $0) })
        logger.logLevel = .error
        let configuration = PoolConfiguration(max: first.pool, min: first.pool, deadline: .seconds(30), waiters: 10_000)
        let pool = Pool(configuration, endpoint: endpoint, loop: loop, logger: logger)
        let database = Database(pool: pool)
        return await withTaskGroup(of: Void.self) { group in
            group.addTask { await pool.run() }
            defer { group.cancelAll() }
            await warmUp(database, pool: first.pool)
            var command = first
            while true {
                answer(await Measurement.run(command, on: database, executor: onLoop ? loop : nil))
                guard let following = Command.next() else { return nil }
                guard following.pool == first.pool else { return following }
                command = following
            }
        }
    }

    /// All connections open, the statement prepared on each.
    private static func warmUp(_ database: Database, pool size: Int) async {
        while database.pool.statistics().idle < size { await Task.yield() }
        for _ in 0..<4 {
            await withTaskGroup(of: Void.self) { group in
                for _ in 0..<size {
                    group.addTask {
                        _ = try? await database.withConnection(for: "warm") { lease in
                            _ = try await lease.query("SELECT 1")
                            _ = try await lease.query("SELECT pg_sleep(0.02)")
                        }
                    }
                }
            }
        }
    }

    private static var endpoint: PostgresEndpoint {
        let names = [("host", "PGHOST"), ("port", "PGPORT"), ("user", "PGUSER"), ("dbname", "PGDATABASE")]
        return PostgresEndpoint(
            keywords: Dictionary(uniqueKeysWithValues: names.compactMap { keyword, name in environment(name).map { (keyword, $0) } }))
    }

    private static func environment(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }
}

/// One line at once, though the output is a pipe.
func answer(_ line: String) {
    var bytes = Array((line + "\n").utf8)
    write(1, &bytes, bytes.count)
}

/// `query 10 20 1.0`
struct Command {
    enum Mode: String {
        /// Checkout, SELECT 1, return.
        case query
        /// Checkout and return; with more than one caller the connection is held over one switch of tasks, or nobody would ever wait.
        case bare
        /// A statement without a lease of its own: concurrent ones are batched.
        case single
        /// Checkout, ten independent statements in one pipeline, return.
        case batch
    }

    var mode: Mode
    var pool: Int
    var callers: Int
    var seconds: Double

    /// The next line of the standard input that can be read as one; nil at its end.
    static func next() -> Command? {
        while let line = readLine() {
            let words = line.split(separator: " ")
            if words.count == 4, let mode = Mode(rawValue: String(words[0])), let pool = Int(words[1]), let callers = Int(words[2]),
                let seconds = Double(words[3]), pool > 0, callers > 0, seconds > 0
            {
                return Command(mode: mode, pool: pool, callers: callers, seconds: seconds)
            }
            answer(#"{"error":"expected MODE POOL CALLERS SECONDS"}"#)
        }
        return nil
    }
}
